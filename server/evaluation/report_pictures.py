"""Pictures of an evaluation: curves, AP by distance, and single frames from above. They need matplotlib."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from server.evaluation.curves import best_from_here_on
from server.evaluation.kitti_report import KittiReport, Score
from server.evaluation.objects import EvaluatedFrame
from shared_models.datasets.full_turn import is_full_turn
from shared_models.records import Frame
from shared_models.visualisation.bird_eye import AHEAD, AROUND, draw_bird_eye
from shared_models.visualisation.figure import as_png, new_figure
from shared_models.visualisation.marks import Marks
from shared_models.visualisation.palette import GROUPS, group_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH: Final = 100
CURVE_INCHES: Final = 4.2  # side of one plot
FRAME_INCHES: Final = (6.4, 6.6)
LINES: Final = ("-", "--", ":", "-.")
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito
TITLES: Final = {"image": "image", "bev": "bird's eye", "3d": "3D"}


def curves_picture(report: KittiReport) -> bytes:
    """A PNG with precision over recall: a plot for each metric, a colour for each class, a line for each difficulty.

    Precision is the highest at this recall or a larger one, whose area is all-point AP.
    """
    metrics = report.config.metrics
    figure = _figure(CURVE_INCHES * len(metrics), CURVE_INCHES)
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        for place, rule in enumerate(report.config.classes):
            for line, difficulty in zip(cycle(LINES), report.config.difficulties, strict=False):
                score = report.score(rule.name, metric, difficulty.name)
                _draw_curve(axes, score, COLOURS[place % len(COLOURS)], line)
        axes.set_title(f"{TITLES[metric]}", fontsize=10)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=6.5, loc="lower left")
    return as_png(figure)


def distance_picture(report: KittiReport) -> bytes:
    """A PNG with all-point 3D AP (or the last metric's) by distance: one plot for each class, bars for difficulties."""
    metric = report.config.metrics[-1]
    classes, bands = report.config.classes, report.config.bands_m
    figure = _figure(CURVE_INCHES * len(classes), CURVE_INCHES)
    names = [f"{near:g} m and more" if math.isinf(far) else f"{near:g} to {far:g} m" for near, far in bands]
    for axes, rule in zip(figure.subplots(1, len(classes), squeeze=False)[0], classes, strict=True):
        chosen = [s for s in report.by_distance if (s.class_name, s.metric) == (rule.name, metric)]
        _draw_bars(axes, report, chosen)
        axes.set_title(f"{rule.name}, {TITLES[metric]}", fontsize=10)
        axes.set_xticks(range(len(bands)), names, fontsize=8)
        axes.set_ylabel("all-point AP, %")
        axes.set_ylim(0, 125)
        axes.legend(fontsize=7, loc="upper right", ncols=3)
    return as_png(figure)


def frame_picture(evaluated: EvaluatedFrame, frame: Frame | None, thresholds: Mapping[str, float]) -> bytes:
    """A PNG of one frame from above: labels in their class's colour, detections dashed.

    frame: with its points and labels; without, only boxes are drawn, as they were compared.
    thresholds: class -> lowest score of detections that are drawn; classes not listed are not drawn.
    """
    low = {name.casefold(): score for name, score in thresholds.items()}
    detections = evaluated.detections
    limits = np.array([low.get(name.casefold(), np.inf) for name in detections.class_names], dtype=np.float64)
    kept = np.flatnonzero(detections.scores >= limits).tolist()
    names = tuple(detections.class_names[n] for n in kept)
    if frame is not None and evaluated.found is not None and frame.labels is not None:
        points, labelled = frame.points, frame.labels.boxes
        found = evaluated.found.boxes.cpu().numpy()[kept]
        is_around = is_full_turn(points)
    else:
        points, is_around = np.empty((0, 3), dtype=np.float32), not evaluated.has_image_boxes
        labelled, found = evaluated.truth.boxes.astype(np.float32), detections.boxes[kept]
    marks = (
        Marks(boxes=labelled, class_names=evaluated.truth.class_names),
        Marks(boxes=found.astype(np.float32), class_names=names, is_detected=True),
    )
    return _bird_eye(points, marks, is_around)


def _bird_eye(points: NDArray[np.float32], marks: tuple[Marks, Marks], is_around: bool) -> bytes:
    from matplotlib.lines import Line2D

    figure = _figure(*FRAME_INCHES)
    axes = figure.subplots()
    draw_bird_eye(axes, points, marks, AROUND if is_around else AHEAD)
    groups = dict.fromkeys(group_of(name) for name in marks[0].class_names)
    handles = [Line2D([], [], color=GROUPS[group][0], label=f"labelled {group}") for group in groups]
    handles.append(Line2D([], [], color="white", linestyle="--", label="detected"))
    axes.legend(handles=handles, loc="upper right", fontsize=7, facecolor="#394150", labelcolor="white")
    return as_png(figure)


def _draw_curve(axes: Axes, score: Score, colour: str, line: str) -> None:
    if score.objects == 0:
        return
    label = f"{score.class_name} {score.difficulty}: {score.ap_all:.1f}"
    order = np.argsort(score.curve.recall, kind="stable")
    recall = np.concatenate(([0.0], score.curve.recall[order]))
    precision = best_from_here_on(np.concatenate(([0.0], score.curve.precision[order])))
    axes.step(recall, precision, line, where="pre", color=colour, linewidth=1.2, label=label)


def _draw_bars(axes: Axes, report: KittiReport, scores: list[Score]) -> None:
    difficulties = report.config.difficulties
    width = 0.8 / len(difficulties)
    for place, difficulty in enumerate(difficulties):
        own = [score for score in scores if score.difficulty == difficulty.name]
        left = np.arange(len(own)) + (place - (len(difficulties) - 1) / 2) * width
        heights = [0.0 if math.isnan(score.ap_all) else score.ap_all for score in own]
        axes.bar(left, heights, width, color=COLOURS[place % len(COLOURS)], label=difficulty.name)
        for x, height, score in zip(left, heights, own, strict=True):
            text = f"{height:.0f}\nn={score.objects}" if score.objects else "n=0"
            axes.text(x, height + 1, text, ha="center", fontsize=6)


def _figure(width: float, height: float) -> Figure:
    return new_figure(width, height, dots_per_inch=DOTS_PER_INCH)
