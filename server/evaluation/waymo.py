"""Waymo's average precision (AP) and the one weighted by heading (APH), at LEVEL_1 and LEVEL_2, in 3D.

Source: P. Sun et al., "Scalability in Perception for Autonomous Driving: Waymo Open Dataset", CVPR 2020, section 5, and
the dataset's metrics library. Levels are those of OpenPCDet: LEVEL_1 for objects with more than 5 LiDAR points, LEVEL_2
with 1 to 5; objects without a point are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from server.evaluation.curves import best_from_here_on
from server.evaluation.kitti_matching import Mask, Scenarios, ThresholdMatches, match_at_every_threshold
from server.evaluation.objects import EvaluatedFrame
from server.evaluation.pooled import Floats, Integers, Overlaps, Pool, box_overlaps, pool
from shared_models.errors import InvalidValueError
from shared_models.records import check

LEVELS: Final = ("level_1", "level_2")


@dataclass(frozen=True, slots=True, kw_only=True)
class WaymoClass:
    """When a detection of a class has found an object.

    name: of the class, compared without regard to case.
    min_iou: overlap in space that must be reached, 0 to 1.
    """

    name: str = "Vehicle"
    min_iou: float = 0.7

    def __post_init__(self) -> None:
        check.name("WaymoClass", "name", self.name, 64)
        check.number("WaymoClass", "min_iou", self.min_iou, 0.01, 0.99)


WAYMO_CLASSES: Final = (
    WaymoClass(),
    WaymoClass(name="Pedestrian", min_iou=0.5),
    WaymoClass(name="Cyclist", min_iou=0.5),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaymoEvaluationConfig:
    """Waymo's evaluation of 3D detection.

    classes: what is searched for.
    cutoffs: score thresholds, evenly from 0 to 1.
    max_recall_gap: where the curve jumps over more recall than this, points of the lower precision are put in, so that
        a sparse curve is not overrated.
    level_1_points: objects with more LiDAR points than this are LEVEL_1.
    """

    classes: tuple[WaymoClass, ...] = WAYMO_CLASSES
    cutoffs: int = 101
    max_recall_gap: float = 0.05
    level_1_points: int = 5

    def __post_init__(self) -> None:
        owner = "WaymoEvaluationConfig"
        check.distinct_names(owner, "classes", [rule.name.casefold() for rule in self.classes], 100)
        check.count(owner, "cutoffs", self.cutoffs, 10_001, 2)
        check.number(owner, "max_recall_gap", self.max_recall_gap, 1e-3, 1)
        check.count(owner, "level_1_points", self.level_1_points, 10_000, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaymoScore:
    """AP and APH of one class and level, in percent; NaN where no object counts.

    objects: labelled objects of this level or below.
    """

    class_name: str
    level: str
    objects: int
    ap: float
    aph: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WaymoReport:
    """All scores."""

    scores: tuple[WaymoScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: class -> level -> ap, aph, objects; null where no object counts."""
        found: dict[str, Any] = {}
        for score in self.scores:
            numbers = {key: None if math.isnan(v) else v for key, v in (("ap", score.ap), ("aph", score.aph))}
            found.setdefault(score.class_name.casefold(), {})[score.level] = {**numbers, "objects": score.objects}
        return found


def evaluate_waymo(frames: Sequence[EvaluatedFrame], config: WaymoEvaluationConfig | None = None) -> WaymoReport:
    """The scores of all frames.

    Raises:
        InvalidValueError: no frames, a frame comes twice, its objects' LiDAR points were not counted, or a score is
            not within 0 to 1.
    """
    rules = config or WaymoEvaluationConfig()
    if not frames:
        raise InvalidValueError("evaluation: expected at least one frame, got none")
    objects = pool(frames)
    _check(objects)
    overlaps = box_overlaps(objects)[1]
    scores = [score for rule in rules.classes for score in _class_scores(objects, overlaps, rule, rules)]
    return WaymoReport(scores=tuple(scores))


def average_precision(precision: Floats, recall: Floats, max_recall_gap: float) -> float:
    """Area under the curve in percent.

    precision, recall: (T,) in any order. Precision at a recall becomes the best at it or any larger recall. In gaps
    wider than `max_recall_gap`, points of the precision at the gap's upper end are put in every `max_recall_gap` below
    that end. Recall 0 takes the precision of its neighbour. The area is that of trapezoids.
    """
    recalls = np.unique(np.append(recall, 0.0))
    if len(recalls) == 1:
        return 0.0
    best = np.zeros(len(recalls))
    np.maximum.at(best, np.searchsorted(recalls, recall), precision)
    best = best_from_here_on(best)
    best[0] = best[1]
    filled = [(float(recalls[0]), float(best[0]))]
    for low, high, value in zip(recalls[:-1], recalls[1:], best[1:], strict=True):
        inside = max(0, math.ceil((high - low - 1e-6) / max_recall_gap) - 1)
        filled += [(high - step * max_recall_gap, value) for step in range(inside, -1, -1)]
    x, y = np.array(filled).T
    return 100 * float(np.trapezoid(y, x))


def match_by_total_overlap(pairs: Scenarios) -> Mask:
    """Marks in each scenario the pairs whose total overlap is largest (Hungarian assignment)."""
    order = np.lexsort((pairs.turn, pairs.scenario))
    borders = np.flatnonzero(np.diff(pairs.scenario[order], prepend=-1, append=-2))
    chosen = np.zeros(len(order), dtype=bool)
    is_alone = np.diff(borders) == 1
    chosen[order[borders[:-1][is_alone]]] = True
    for start, stop in zip(borders[:-1][~is_alone], borders[1:][~is_alone], strict=True):
        rows = order[start:stop]
        chosen[rows[_assigned(pairs.truth[rows], pairs.detection[rows], pairs.iou[rows])]] = True
    return chosen


def _assigned(truth: Integers, detection: Integers, iou: Floats) -> Mask:
    """(P,) the pairs of the best assignment."""
    row = np.unique(truth, return_inverse=True)[1]
    column = np.unique(detection, return_inverse=True)[1]
    gain = np.zeros((row.max() + 1, column.max() + 1))
    gain[row, column] = iou
    partner = np.full(gain.shape[0], -1)
    assigned_rows, assigned_columns = linear_sum_assignment(gain, maximize=True)
    partner[assigned_rows] = assigned_columns
    mask: Mask = partner[row] == column
    return mask


def _check(objects: Pool) -> None:
    uncounted = np.flatnonzero(objects.truth.point_counts < 0)
    if len(uncounted):
        name = objects.frame_ids[int(objects.truth_frame[uncounted[0]])]
        raise InvalidValueError(
            f"evaluation: frame {name} has objects whose LiDAR points were not counted, which Waymo's levels need"
        )
    scores = objects.detections.scores
    if ((scores < 0) | (scores > 1)).any():
        wrong = float(scores[(scores < 0) | (scores > 1)][0])
        raise InvalidValueError(f"evaluation: expected scores of 0 to 1 for Waymo's cut-offs, got {wrong:g}")


def _class_scores(
    objects: Pool, overlaps: Overlaps, rule: WaymoClass, config: WaymoEvaluationConfig
) -> list[WaymoScore]:
    is_truth = (objects.truth_kind == rule.name.casefold()) & (objects.truth.point_counts > 0)
    is_detection = objects.detection_kind == rule.name.casefold()
    is_pair = (overlaps.iou >= rule.min_iou) & is_truth[overlaps.truth] & is_detection[overlaps.detection]
    confidence = objects.detections.scores
    matches = match_at_every_threshold(overlaps.chosen(is_pair), confidence, is_detection, match_by_total_overlap)
    accuracy = _heading_accuracy(objects, matches)
    cutoffs = np.arange(config.cutoffs) / (config.cutoffs - 1)
    hits, credit = (_at_cutoffs(matches.sums(weights), matches, cutoffs) for weights in (accuracy >= 0, accuracy))
    shown = len(confidence[is_detection]) - np.searchsorted(np.sort(confidence[is_detection]), cutoffs, "left")
    is_level_1 = objects.truth.point_counts > config.level_1_points
    scores = []
    for level, is_counted in zip(LEVELS, (is_truth & is_level_1, is_truth), strict=True):
        total = int(np.count_nonzero(is_counted))
        found = _at_cutoffs(matches.sums(is_counted[matches.truth]), matches, cutoffs)
        # Found objects of any level count, missed ones only of this level or below.
        recall = np.divide(hits, hits + total - found, out=np.zeros_like(hits), where=hits + total > found)
        ap, aph = (
            average_precision(_share(part, shown), recall, config.max_recall_gap) if total else math.nan
            for part in (hits, credit)
        )
        scores.append(WaymoScore(class_name=rule.name, level=level, objects=total, ap=ap, aph=aph))
    return scores


def _heading_accuracy(objects: Pool, matches: ThresholdMatches) -> Floats:
    """(E,) 1 - d / pi, where d is the angle between the headings of each match, 0 to pi."""
    apart = np.abs(objects.truth.boxes[matches.truth, 6] - objects.detections.boxes[matches.detection, 6])
    apart %= 2 * np.pi
    accuracy: Floats = 1 - np.minimum(apart, 2 * np.pi - apart) / np.pi
    return accuracy


def _at_cutoffs(values: Floats, matches: ThresholdMatches, cutoffs: Floats) -> Floats:
    """The values at the lowest score that reaches each cut-off, 0 where none does."""
    place = np.searchsorted(-matches.scores, -cutoffs, "right")
    return np.append(0.0, values)[place]


def _share(part: Floats, whole: Integers) -> Floats:
    share: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return share
