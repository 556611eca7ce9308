"""Target scans from above with what was detected before and after, as PNG files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from server.evaluation.kitti_report import FrameOutcome, KittiReport
from server.evaluation.objects import EvaluatedFrame
from server.evaluation.run_evaluation import RunEvaluation
from server.training.atomic_files import write_whole
from shared_models.dataset import Dataset
from shared_models.records import Frame
from shared_models.visualisation.bird_eye import Extent, draw_bird_eye
from shared_models.visualisation.figure import as_png, new_figure
from shared_models.visualisation.marks import Marks, of_labels

INCHES: Final = (4.6, 4.9)
DOTS_PER_INCH: Final = 100
SEEN: Final = Extent(behind_m=1.0, ahead_m=40.0, sideways_m=21.0)  # a little more than the setting tiny looks at
WORDS: Final = ("most gained", "in the middle", "most lost")


def draw(before: RunEvaluation, after: RunEvaluation, dataset: Dataset, folder: Path) -> list[dict[str, Any]]:
    """Draw the scans whose F1 rose most, moved as the middle one did, and fell most; gives files and counts.

    Detections are drawn from the score of each checkpoint's best F1 on.
    """
    reports = [next(iter(each.reports.values())) for each in (before, after)]
    outcomes = [{outcome.frame_id: outcome for outcome in report.outcomes} for report in reports]
    drawn = []
    for word, frame_id in _chosen(*outcomes):
        frame = dataset.frame(frame_id)
        found: dict[str, Any] = {"frame_id": frame_id, "why": word}
        pairs = zip(("before", "after"), (before, after), reports, outcomes, strict=True)
        for name, evaluation, report, own in pairs:
            evaluated = next(each for each in evaluation.frames if each.frame_id == frame_id)
            file = folder / f"{frame_id}-{name}.png"
            write_whole(file, _picture(frame, evaluated, report))
            found[name] = {"file": str(file), **_counts(own[frame_id])}
        drawn.append(found)
    return drawn


def _chosen(before: dict[str, FrameOutcome], after: dict[str, FrameOutcome]) -> list[tuple[str, str]]:
    """Why and which; scans in which nothing counts are left out, and none comes twice."""
    gains = {name: after[name].f1 - before[name].f1 for name in before if name in after}
    ranked = sorted((name for name, gain in gains.items() if not math.isnan(gain)), key=lambda n: (-gains[n], n))
    places = (0, len(ranked) // 2, len(ranked) - 1)
    chosen = {ranked[place]: word for word, place in zip(WORDS, places, strict=True) if ranked}
    return [(word, name) for name, word in chosen.items()]


def _counts(outcome: FrameOutcome) -> dict[str, int]:
    return {"found": outcome.found, "missed": outcome.missed, "false_alarms": outcome.false_alarms}


def _picture(frame: Frame, evaluated: EvaluatedFrame, report: KittiReport) -> bytes:
    """Labels in their class's colour, detections dashed white."""
    return _png(frame, (of_labels(frame.labels), _detected(evaluated, report)))


def _detected(evaluated: EvaluatedFrame, report: KittiReport) -> Marks:
    assert evaluated.found is not None
    found = evaluated.found
    low = {name.casefold(): score for name, score in report.thresholds.items()}
    names = [found.class_names[label] for label in found.labels.tolist()]
    limits = np.array([low.get(name.casefold(), np.inf) for name in names])
    kept = np.flatnonzero(found.scores.numpy() >= limits).tolist()
    boxes = found.boxes.numpy()[kept].astype(np.float32).reshape(-1, 7)
    return Marks(boxes=boxes, class_names=tuple(names[row] for row in kept), is_detected=True)


def _png(frame: Frame, marks: Sequence[Marks]) -> bytes:
    figure = new_figure(*INCHES, dots_per_inch=DOTS_PER_INCH)
    draw_bird_eye(figure.subplots(), frame.points, marks, SEEN)
    return as_png(figure)
