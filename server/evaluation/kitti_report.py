"""What a KITTI evaluation found."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from server.evaluation.curves import Curve
from server.evaluation.kitti_config import METRICS, ORIENTED, KittiEvaluationConfig
from shared_models.errors import NotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Average precision of one class, metric and difficulty, in percent; NaN where no object counts.

    metric: image, bev or 3d, or what weighs it by orientation: aos, bev_ahs, 3d_ahs.
    objects: labelled objects that count.
    ap_r40, ap_r11: at 40 and 11 recall points; with n < 40 objects, ap_r40 is at most 100 (n - 1) / 40.
    ap_all: with each detection's score as a threshold; not capped.
    curve: what the numbers come from.
    band_m: (from, to) distance along the ground where only such objects count, else None.
    """

    class_name: str
    metric: str
    difficulty: str
    objects: int
    ap_r40: float
    ap_r11: float
    ap_all: float
    curve: Curve
    band_m: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameOutcome:
    """How one frame fares, all classes together, each at the threshold of its best F1 over all frames.

    found, missed: labelled objects that count. false_alarms: detections without an object.
    """

    frame_id: str
    found: int
    missed: int
    false_alarms: int

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); NaN where nothing counts."""
        counted = 2 * self.found + self.missed + self.false_alarms
        return 2 * self.found / counted if counted else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class KittiReport:
    """All scores of an evaluation.

    scores: over all distances. by_distance: bird's-eye and 3D scores of each band.
    outcomes: of each frame, in 3D (or the last metric) at the last difficulty.
    thresholds: class -> score at which `outcomes` are counted; classes without any are missing.
    warnings: what a reader must know before believing a number.
    """

    config: KittiEvaluationConfig
    scores: tuple[Score, ...]
    by_distance: tuple[Score, ...]
    outcomes: tuple[FrameOutcome, ...]
    thresholds: dict[str, float]
    warnings: tuple[str, ...]

    def score(self, class_name: str, metric: str, difficulty: str) -> Score:
        """One score over all distances; the class without regard to case.

        Raises:
            NotFoundError: it was not evaluated.
        """
        wanted = (class_name.casefold(), metric, difficulty)
        for score in self.scores:
            if (score.class_name.casefold(), score.metric, score.difficulty) == wanted:
                return score
        raise NotFoundError(f"evaluation: no score for {class_name} {metric} {difficulty}")

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; lists follow `difficulties`, with null where no object counts. See docs/evaluation.md."""
        return {
            "frames": len(self.outcomes),
            "difficulties": [difficulty.name for difficulty in self.config.difficulties],
            "min_iou": {
                rule.name.casefold(): {metric: rule.min_iou(metric) for metric in METRICS}
                for rule in self.config.classes
            },
            "objects": _objects(self.scores),
            "ap_r40": _by_class(self.scores, lambda score: score.ap_r40),
            "ap_r11": _by_class(self.scores, lambda score: score.ap_r11),
            "ap_all": _by_class(self.scores, lambda score: score.ap_all),
            "distance": [self._band(band) for band in self.config.bands_m],
            "warnings": list(self.warnings),
        }

    def _band(self, band_m: tuple[float, float]) -> dict[str, Any]:
        scores = [score for score in self.by_distance if score.band_m == band_m]
        near, far = band_m
        return {
            "from_m": near,
            "to_m": far if math.isfinite(far) else None,
            "objects": _objects(scores),
            "ap_r40": _by_class(scores, lambda score: score.ap_r40),
            "ap_all": _by_class(scores, lambda score: score.ap_all),
        }


def warnings_of(scores: Sequence[Score], few: int) -> list[str]:
    """One sentence for each class and difficulty with too few objects, and for each without orientations."""
    found = []
    plain = [score for score in scores if score.metric not in ORIENTED.values()]
    counts = {(score.class_name, score.difficulty): score.objects for score in plain}
    for (class_name, difficulty), objects in counts.items():
        if objects == 0:
            found.append(f"{class_name} {difficulty}: no object counts, so there is no AP")
        elif objects < few:
            highest = 100 * min(1.0, (objects - 1) / 40)
            found.append(
                f"{class_name} {difficulty}: few objects count ({objects}); AP at 40 recall points cannot exceed "
                f"{highest:.1f} here, read ap_all"
            )
    for score in scores:
        if score.objects and math.isnan(score.ap_all):
            about = f"{score.class_name} {score.difficulty}"
            found.append(f"{about}: objects or detections lack orientations, so there is no {score.metric}")
    return found


def _objects(scores: Sequence[Score]) -> dict[str, list[int]]:
    """Class -> counted objects of each difficulty; every metric counts the same ones."""
    first = {(score.class_name.casefold(), score.difficulty): score.objects for score in scores}
    found: dict[str, list[int]] = {}
    for (name, _), objects in first.items():
        found.setdefault(name, []).append(objects)
    return found


def _by_class(scores: Sequence[Score], value: Callable[[Score], float]) -> dict[str, dict[str, list[float | None]]]:
    found: dict[str, dict[str, list[float | None]]] = {}
    for score in scores:
        number = value(score)
        row = found.setdefault(score.class_name.casefold(), {}).setdefault(score.metric, [])
        row.append(None if math.isnan(number) else number)
    return found
