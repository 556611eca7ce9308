"""KITTI's average precision: image, orientation, bird's eye and 3D, per class and difficulty.

Source of the protocol: A. Geiger et al., "Are we ready for autonomous driving?", CVPR 2012, and its development kit.
docs/evaluation.md tells the rules.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from server.evaluation.curves import Curve, all_point_ap, recall_thresholds, sampled_ap
from server.evaluation.kitti_cases import Case, Matching, Measured, Roles, cases_of, measure
from server.evaluation.kitti_config import ORIENTED, KittiEvaluationConfig
from server.evaluation.kitti_report import FrameOutcome, KittiReport, Score, warnings_of
from server.evaluation.objects import EvaluatedFrame
from server.evaluation.pooled import Floats, Integers, Pool, pool
from shared_models.errors import InvalidValueError

LOGGER = logging.getLogger(__name__)


def evaluate_kitti(frames: Sequence[EvaluatedFrame], config: KittiEvaluationConfig | None = None) -> KittiReport:
    """The scores of all frames.

    Raises:
        InvalidValueError: no frames, a frame comes twice, or the configuration needs image boxes or counts of points
            that a frame lacks.
    """
    rules = config or KittiEvaluationConfig()
    _check(frames, rules)
    objects = pool(frames)
    return score(objects, measure(objects, rules), rules)


def score(objects: Pool, measured: Measured, config: KittiEvaluationConfig) -> KittiReport:
    """All scores, from the overlaps."""
    scores: list[Score] = []
    by_distance: list[Score] = []
    outcomes = np.zeros((len(objects.frame_ids), 3), dtype=np.int64)
    thresholds: dict[str, float] = {}
    for rule in config.classes:
        for metric in config.metrics:
            cases = list(cases_of(objects, measured, rule, metric, config))
            scores += [score for case in cases for score in _scores(objects, case)]
            by_distance += [score for case in cases for score in _banded(objects, case, config)]
        last = cases[-1]
        best = _curve(objects, last.roles, last.matching).best_threshold()
        outcomes += _outcomes(objects, last, best)
        if best is not None:
            thresholds[rule.name] = float(last.matching.matches.scores[best])
    warnings = warnings_of(scores, config.few_objects)
    for warning in warnings:
        LOGGER.warning(warning)
    return KittiReport(
        config=config,
        scores=tuple(scores),
        by_distance=tuple(by_distance),
        outcomes=tuple(
            FrameOutcome(frame_id=name, found=found, missed=missed, false_alarms=false)
            for name, (found, missed, false) in zip(objects.frame_ids, outcomes.tolist(), strict=True)
        ),
        thresholds=thresholds,
        warnings=tuple(warnings),
    )


def _check(frames: Sequence[EvaluatedFrame], config: KittiEvaluationConfig) -> None:
    if not frames:
        raise InvalidValueError("evaluation: expected at least one frame, got none")
    blind = next((frame for frame in frames if not frame.has_image_boxes), None) if config.needs_image else None
    if blind is not None:
        raise InvalidValueError(
            f"evaluation: frame {blind.frame_id} has objects without image boxes, which KITTI's difficulties and the "
            f"image metric need; use KittiEvaluationConfig.without_camera()"
        )
    if any(difficulty.min_points is not None for difficulty in config.difficulties):
        uncounted = next((frame for frame in frames if (frame.truth.point_counts < 0).any()), None)
        if uncounted is not None:
            raise InvalidValueError(
                f"evaluation: frame {uncounted.frame_id} has objects whose LiDAR points were not counted, "
                f"which Difficulty.min_points needs"
            )


def _scores(objects: Pool, case: Case) -> list[Score]:
    """The score of a metric, and what weighs it by orientation."""
    matches, roles = case.matching.matches, case.roles
    curve = _curve(objects, roles, case.matching)
    is_hit = roles.counted[matches.truth] & roles.valid[matches.detection]
    similarity = np.where(is_hit, case.matching.similarity, 0.0)
    # One missing orientation leaves nothing to say about the others'.
    credit = np.full_like(curve.hits, np.nan) if np.isnan(similarity).any() else matches.sums(similarity)
    thresholds = _sampled_thresholds(objects, roles, case.matching)
    plain = _score(curve, thresholds, case)
    return [plain, replace(_score(replace(curve, credit=credit), thresholds, case), metric=ORIENTED[case.metric])]


def _banded(objects: Pool, case: Case, config: KittiEvaluationConfig) -> list[Score]:
    """The score of each band of distance: objects outside it do not count, free detections outside it are excused."""
    if case.metric == "image":
        return []
    found = []
    roles = case.roles
    distances = [np.hypot(*o.boxes[:, :2].T) for o in (objects.truth, objects.detections)]
    for near, far in config.bands_m:
        is_truth_in, is_detection_in = ((near <= distance) & (distance < far) for distance in distances)
        banded = replace(roles, counted=roles.counted & is_truth_in, excused=roles.excused | ~is_detection_in)
        curve = _curve(objects, banded, case.matching)
        thresholds = _sampled_thresholds(objects, banded, case.matching)
        found.append(replace(_score(curve, thresholds, case), band_m=(near, far)))
    return found


def _curve(objects: Pool, roles: Roles, matching: Matching) -> Curve:
    matches = matching.matches
    is_wrong_if_free = roles.valid & ~roles.excused
    hits = matches.sums(roles.counted[matches.truth] & roles.valid[matches.detection])
    falling = np.sort(-objects.detections.scores[is_wrong_if_free])
    shown = np.searchsorted(falling, -matches.scores, "right")
    return Curve(
        scores=matches.scores,
        hits=hits,
        false_alarms=shown - matches.sums(is_wrong_if_free[matches.detection]),
        credit=hits,
        objects=int(np.count_nonzero(roles.counted)),
    )


def _sampled_thresholds(objects: Pool, roles: Roles, matching: Matching) -> Floats:
    is_hit = roles.counted[matching.first_truth] & roles.valid[matching.first_detection]
    hit_scores = objects.detections.scores[matching.first_detection[is_hit]]
    return recall_thresholds(hit_scores, int(np.count_nonzero(roles.counted)))


def _score(curve: Curve, thresholds: Floats, case: Case) -> Score:
    ap_r11, ap_r40 = sampled_ap(curve, thresholds)
    return Score(
        class_name=case.class_name,
        metric=case.metric,
        difficulty=case.difficulty,
        objects=curve.objects,
        ap_r40=ap_r40,
        ap_r11=ap_r11,
        ap_all=all_point_ap(curve),
        curve=curve,
    )


def _outcomes(objects: Pool, case: Case, threshold: int | None) -> Integers:
    """(F, 3) found and missed objects and false alarms of each frame at one threshold; without one all is missed."""
    roles, matches = case.roles, case.matching.matches
    holds = matches.holding_at(-1 if threshold is None else threshold)
    truth, detection = matches.truth[holds], matches.detection[holds]
    is_hit = roles.counted[truth] & roles.valid[detection]
    missed, false = roles.counted.copy(), roles.valid & ~roles.excused
    false &= objects.detections.scores >= (np.inf if threshold is None else matches.scores[threshold])
    missed[truth], false[detection] = False, False
    frames = (objects.truth_frame[truth[is_hit]], objects.truth_frame[missed], objects.detection_frame[false])
    return np.stack([np.bincount(rows, minlength=len(objects.frame_ids)) for rows in frames], axis=1)
