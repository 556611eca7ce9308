"""Which objects and detections count in one class, metric and difficulty, and who is matched to whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.evaluation.kitti_config import ClassRule, Difficulty, KittiEvaluationConfig
from server.evaluation.kitti_matching import (
    Mask,
    ThresholdMatches,
    match_at_every_threshold,
    match_by_overlap,
    match_by_score,
)
from server.evaluation.pooled import Floats, Integers, Overlaps, Pool, box_overlaps, image_overlaps, region_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What overlaps what in all frames.

    overlaps: metric -> pairs. region_share: (D,) share of each detection that an unlabelled region covers.
    """

    overlaps: dict[str, Overlaps]
    region_share: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """counted: (G,) objects to be found. valid: (D,) detections that are right or wrong; excused: (D,) never wrong."""

    counted: Mask
    valid: Mask
    excused: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Both passes of one class and metric.

    first_truth, first_detection: matches of the first pass. matches: of the second, with their (E,) similarity of
    orientation.
    """

    first_truth: Integers
    first_detection: Integers
    matches: ThresholdMatches
    similarity: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything about one class, metric and difficulty."""

    class_name: str
    metric: str
    difficulty: str
    roles: Roles
    matching: Matching


def measure(objects: Pool, config: KittiEvaluationConfig) -> Measured:
    """The overlaps that the configuration's metrics need."""
    overlaps = {}
    if "image" in config.metrics:
        overlaps["image"] = image_overlaps(objects)
    if {"bev", "3d"} & set(config.metrics):
        overlaps["bev"], overlaps["3d"] = box_overlaps(objects)
    return Measured(overlaps=overlaps, region_share=region_share(objects))


def cases_of(
    objects: Pool, measured: Measured, rule: ClassRule, metric: str, config: KittiEvaluationConfig
) -> Iterator[Case]:
    """One case for each difficulty; those with the same limit of height share their matching."""
    matchings: dict[float | None, Matching] = {}
    for difficulty in config.difficulties:
        low = difficulty.min_height_px
        if low not in matchings:
            matchings[low] = _match(objects, measured.overlaps[metric], rule, metric, low)
        yield Case(
            class_name=rule.name,
            metric=metric,
            difficulty=difficulty.name,
            roles=_roles(objects, measured, rule, metric, difficulty),
            matching=matchings[low],
        )


def _roles(objects: Pool, measured: Measured, rule: ClassRule, metric: str, difficulty: Difficulty) -> Roles:
    truth = objects.truth
    counted = objects.truth_kind == rule.name.casefold()
    if difficulty.min_height_px is not None:
        counted &= _heights(truth.image_boxes) > difficulty.min_height_px
    if difficulty.max_occlusion is not None:
        counted &= truth.occlusion <= difficulty.max_occlusion
    if difficulty.max_truncation is not None:
        counted &= truth.truncation <= difficulty.max_truncation
    if difficulty.min_points is not None:
        counted &= truth.point_counts >= difficulty.min_points
    valid = (objects.detection_kind == rule.name.casefold()) & ~_too_low(objects, difficulty.min_height_px)
    in_region = measured.region_share > rule.min_iou(metric) if metric == "image" else np.zeros_like(valid)
    return Roles(counted=counted, valid=valid, excused=in_region)


def _match(objects: Pool, overlaps: Overlaps, rule: ClassRule, metric: str, min_height_px: float | None) -> Matching:
    names = [name.casefold() for name in (rule.name, *rule.neighbours)]
    too_low = _too_low(objects, min_height_px)
    # As in the official program a detection that is too low is ignored before its class is looked at, so it may take
    # an object of another class, which then counts as neither found nor missed.
    may_match = too_low | (objects.detection_kind == rule.name.casefold())
    is_pair = (overlaps.iou > rule.min_iou(metric)) & may_match[overlaps.detection]
    is_pair &= np.isin(objects.truth_kind, names)[overlaps.truth]
    pairs, confidence = overlaps.chosen(is_pair), objects.detections.scores
    first_truth, first_detection = match_by_score(pairs, confidence)
    matches = match_at_every_threshold(pairs, confidence, may_match, match_by_overlap(too_low))
    return Matching(
        first_truth=first_truth,
        first_detection=first_detection,
        matches=matches,
        similarity=_similarity(objects, matches, metric),
    )


def _similarity(objects: Pool, matches: ThresholdMatches, metric: str) -> Floats:
    """(1 + cos) / 2 of the angle between each match's directions: as the camera sees them, or from above."""
    sides = ((objects.truth, matches.truth), (objects.detections, matches.detection))
    angles = [o.alpha_rad[rows] if metric == "image" else o.boxes[rows, 6] for o, rows in sides]
    similarity: Floats = (1 + np.cos(angles[0] - angles[1])) / 2
    return similarity


def _too_low(objects: Pool, min_height_px: float | None) -> Mask:
    heights = _heights(objects.detections.image_boxes)
    return heights < min_height_px if min_height_px is not None else np.zeros(len(heights), dtype=bool)


def _heights(image_boxes: Floats) -> Floats:
    return np.abs(image_boxes[:, 3] - image_boxes[:, 1])
