"""Where what a detector found in reconstructions meets the labels: objects, how many of them came back, and AP."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from server.audit.intervals import Estimate, IntervalConfig, estimate_of
from server.audit.scenes import SceneTruth
from server.audit.scores import SceneScore, points_inside
from server.evaluation import kitti
from server.evaluation.curves import Curve
from server.evaluation.kitti_config import LOOSE, STRICT, ClassRule, Difficulty, KittiEvaluationConfig
from server.evaluation.kitti_report import Score
from server.evaluation.objects import DetectedObjects, EvaluatedFrame, TruthObjects
from shared_models.records import Detections

FEWEST_POINTS: Final = 5
AP_ROUNDS: Final = 100  # an AP takes milliseconds to compute, a mean microseconds
COUNTED: Final = Difficulty(name="all", min_points=FEWEST_POINTS)
METRIC: Final = "3d"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """(S,) of each scene: objects that count, found ones, and detections of their class."""

    objects: NDArray[np.int64]
    found: NDArray[np.int64]
    detections: NDArray[np.int64]


class ObjectScores:
    """Measures of what was found in the reconstructions of some scenes.

    An object counts if at least five points of the true scan lie in its box. Overlaps are KITTI's in space: strict 0.7
    for cars and 0.5 for people and cyclists, loose 0.5 and 0.25. Names, for each class:
    "Car/objects" those that count; "Car/found_loose" those found with a score of at least `least_score`;
    "Car/recall_loose" = found / objects; "Car/ap_loose" the average precision over all scores, 0 to 1, every
    detection's score being a threshold. The same with "strict".
    """

    def __init__(self, truths: Sequence[SceneTruth], class_names: Sequence[str], least_score: float) -> None:
        self._rules = {
            "loose": [_rule(name, LOOSE, 0.5) for name in class_names],
            "strict": [_rule(name, STRICT, 0.7) for name in class_names],
        }
        self._truths, self._least = tuple(truths), least_score
        self._labelled = [_truth_objects(truth) for truth in truths]
        self._drives = [truth.drive for truth in truths]

    def estimates(self, found: Sequence[Detections], config: IntervalConfig, seed: int) -> dict[str, Estimate]:
        """All measures of all scenes; intervals from drawing whole drives, those of AP with at most 100 draws."""
        frames = self._frames(found)
        numbers: dict[str, Estimate] = {}
        fewer = replace(config, rounds=min(config.rounds, AP_ROUNDS))
        for overlap, rules in self._rules.items():
            for rule in rules:
                counts = self._counts(frames, rule)
                total = int(counts.objects.sum())
                numbers[f"{rule.name}/objects"] = _exact(total, len(frames))
                numbers[f"{rule.name}/found_{overlap}"] = _exact(int(counts.found.sum()), len(frames))
                numbers[f"{rule.name}/recall_{overlap}"] = estimate_of(
                    partial(_share, counts), self._drives, config, seed
                )
                numbers[f"{rule.name}/ap_{overlap}"] = estimate_of(
                    partial(_ap, frames, rule, counts), self._drives, fewer, seed
                )
        return numbers

    def of_scenes(self, found: Sequence[Detections]) -> list[SceneScore]:
        """Objects and found ones of each scene."""
        frames = self._frames(found)
        numbers: list[dict[str, float]] = [{} for _ in frames]
        for overlap, rules in self._rules.items():
            for rule in rules:
                counts = self._counts(frames, rule)
                for row, own in enumerate(numbers):
                    own[f"{rule.name}/objects"] = float(counts.objects[row])
                    own[f"{rule.name}/found_{overlap}"] = float(counts.found[row])
        return [SceneScore(scene_id=t.scene_id, numbers=own) for t, own in zip(self._truths, numbers, strict=True)]

    def notes(self, config: IntervalConfig) -> list[str]:
        """What a reader has to know about the scenes."""
        notes = []
        drives = len(set(self._drives))
        if drives < config.fewest_scenes:
            notes.append(f"no intervals: the scenes are of {drives} drives only")
        present = {name.casefold() for truth in self._truths for name in truth.class_names}
        missing = [rule.name for rule in self._rules["strict"] if rule.name.casefold() not in present]
        return notes + [f"no object of the class {name} in these scenes" for name in missing]

    def _frames(self, found: Sequence[Detections]) -> list[EvaluatedFrame]:
        triples = zip(self._truths, self._labelled, found, strict=True)
        return [
            EvaluatedFrame(frame_id=truth.scene_id, truth=own, detections=_detected(each))
            for truth, own, each in triples
        ]

    def _counts(self, frames: Sequence[EvaluatedFrame], rule: ClassRule) -> _Counts:
        objects, hits = [], []
        for frame in frames:
            curve = _curve([frame], rule)
            objects.append(curve.objects)
            sure = int(np.count_nonzero(curve.scores >= self._least))
            hits.append(int(curve.hits[sure - 1]) if sure else 0)
        own = rule.name.casefold()
        detections = [sum(name.casefold() == own for name in frame.detections.class_names) for frame in frames]
        return _Counts(objects=np.array(objects), found=np.array(hits), detections=np.array(detections))


def _rule(name: str, known: Sequence[ClassRule], iou: float) -> ClassRule:
    found = next((rule for rule in known if rule.name == name), None)
    return found or ClassRule(name=name, bev_iou=iou, volume_iou=iou)


def _share(counts: _Counts, rows: NDArray[np.int64]) -> float:
    objects = int(counts.objects[rows].sum())
    return float(counts.found[rows].sum() / objects) if objects else math.nan


def _ap(frames: Sequence[EvaluatedFrame], rule: ClassRule, counts: _Counts, rows: NDArray[np.int64]) -> float:
    if not counts.objects[rows].any():
        return math.nan
    if not counts.detections[rows].any():
        return 0.0
    # A scene that is drawn twice counts as two.
    drawn = [replace(frames[row], frame_id=f"{place}-{row}") for place, row in enumerate(rows.tolist())]
    return _score(drawn, rule).ap_all / 100


def _curve(frames: Sequence[EvaluatedFrame], rule: ClassRule) -> Curve:
    return _score(frames, rule).curve


def _score(frames: Sequence[EvaluatedFrame], rule: ClassRule) -> Score:
    config = KittiEvaluationConfig(
        classes=(rule,), difficulties=(COUNTED,), metrics=(METRIC,), distance_edges_m=(), few_objects=0
    )
    before = kitti.LOGGER.level
    kitti.LOGGER.setLevel(logging.ERROR)  # without a warning for every single scene that has no object of a class
    try:
        return kitti.evaluate_kitti(frames, config).score(rule.name, METRIC, COUNTED.name)
    finally:
        kitti.LOGGER.setLevel(before)


def _exact(value: float, scenes: int) -> Estimate:
    return Estimate(mean=float(value), low=None, high=None, scenes=scenes)


def _truth_objects(truth: SceneTruth) -> TruthObjects:
    count = len(truth.class_names)
    inside = [int(points_inside(truth.points, truth.boxes[row : row + 1]).sum()) for row in range(count)]
    return TruthObjects(
        class_names=truth.class_names,
        boxes=truth.boxes.astype(np.float64),
        image_boxes=np.full((count, 4), np.nan),
        alpha_rad=np.full(count, np.nan),
        occlusion=np.full(count, -1, np.int64),
        truncation=np.full(count, -1.0),
        point_counts=np.array(inside, np.int64),
        image_only_boxes=np.zeros((0, 4)),
    )


def _detected(found: Detections) -> DetectedObjects:
    count = len(found.scores)
    return DetectedObjects(
        class_names=tuple(found.class_names[label] for label in found.labels.tolist()),
        boxes=found.boxes.cpu().numpy().astype(np.float64),
        image_boxes=np.full((count, 4), np.nan),
        alpha_rad=np.full(count, np.nan),
        scores=found.scores.cpu().numpy().astype(np.float64),
    )
