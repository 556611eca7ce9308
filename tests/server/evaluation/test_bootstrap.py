"""Bootstrap intervals, and AP on drawn frames, against what can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from server.evaluation.bootstrap import (
    BootstrapConfig,
    FrameScores,
    bootstrap,
    bootstrap_difference,
    percentile_interval,
)
from server.evaluation.frame_objects import evaluated_frame
from server.evaluation.kitti import evaluate_kitti
from server.evaluation.kitti_config import KittiEvaluationConfig
from server.evaluation.objects import EvaluatedFrame
from shared_models.datasets.plain_labels import plain_labels
from shared_models.errors import InvalidValueError
from shared_models.records import Detections, Frame

NAME = "ap_all/strict/car/3d/moderate"
CLASSES = ("Car", "Cyclist")
RULES = {"strict": KittiEvaluationConfig()}
MakeFrames = Callable[[list[bool]], list[EvaluatedFrame]]


@pytest.fixture
def frames(thing: Any, frame_of: Any) -> MakeFrames:
    """One car in each frame, detected exactly or not at all."""

    def make(found: list[bool]) -> list[EvaluatedFrame]:
        return [
            frame_of([thing()], [thing(score=0.9)] if is_found else [], f"{number:03d}")
            for number, is_found in enumerate(found)
        ]

    return make


def test_one_car_a_frame_is_a_coin(frames: MakeFrames) -> None:
    # Without false alarms all-point AP is the share of cars found: 5 of 10, so the draws are binomial(10, 0.5) / 10.
    interval = bootstrap(frames([True, False] * 5), RULES, BootstrapConfig(rounds=400))[NAME]
    assert interval.value == pytest.approx(50.0)
    assert (interval.low, interval.high) == (pytest.approx(20.0), pytest.approx(80.0))  # 2.5 % and 97.5 % quantiles
    assert interval.rounds == 400


def test_everything_found_leaves_no_doubt(frames: MakeFrames) -> None:
    interval = bootstrap(frames([True] * 5), RULES, BootstrapConfig(rounds=50))[NAME]
    assert (interval.value, interval.low, interval.high) == (100.0, 100.0, 100.0)


def test_difference_is_paired(frames: MakeFrames) -> None:
    # The later detector finds what the earlier one found and one car more: on any draw it is never worse.
    before, after = frames([True, False, False, True]), frames([True, True, False, True])
    interval = bootstrap_difference(before, after, RULES, BootstrapConfig(rounds=150))[NAME]
    assert interval.value == pytest.approx(25.0)
    assert interval.low == 0.0
    assert 50.0 <= interval.high <= 75.0


def test_other_frames_are_refused(frames: MakeFrames) -> None:
    with pytest.raises(InvalidValueError, match="same frames"):
        bootstrap_difference(frames([True, True]), frames([True, True])[::-1], RULES, BootstrapConfig(rounds=2))


def test_seed_decides_everything(frames: MakeFrames) -> None:
    few = frames([True, False, True, False, True])
    first, again, other = (bootstrap(few, RULES, BootstrapConfig(rounds=20, seed=seed))[NAME] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_value_is_the_evaluation_s_own(frames: MakeFrames) -> None:
    few = frames([True, False, True])
    report = evaluate_kitti(few, RULES["strict"])
    (score,) = (s for s in report.scores if (s.class_name, s.metric, s.difficulty) == ("Car", "3d", "moderate"))
    assert bootstrap(few, RULES, BootstrapConfig(rounds=2))[NAME].value == score.ap_all


def test_an_interval_is_the_middle_of_the_draws() -> None:
    assert percentile_interval(list(range(101)), 0.9) == (pytest.approx(5.0), pytest.approx(95.0))


def car_frame(number: int, is_found: bool, size_m: float = 2.0) -> EvaluatedFrame:
    """One car; the detector finds it, or something elsewhere."""
    box = np.array([[5, 1, 0, 2, 2, 2, 0]], dtype=np.float32)
    points = np.concatenate((np.repeat(box[:, :3], 9, axis=0), np.zeros((9, 1), dtype=np.float32)), axis=1)
    labelled = Frame(
        frame_id=f"frame-{number}",
        points=points,
        point_fields=("x", "y", "z", "intensity"),
        labels=plain_labels(box, ("Car",)),
    )
    found = torch.tensor([[5.0 if is_found else 25.0, 1, 0, size_m, 2, 2, 0]])
    detections = Detections(boxes=found, scores=torch.tensor([0.5]), labels=torch.tensor([0]), class_names=CLASSES)
    return evaluated_frame(labelled, detections, {}, use_camera=False, point_counts=np.array([9]))


def test_frames_count_as_often_as_they_are_drawn() -> None:
    scores = FrameScores([car_frame(0, True), car_frame(1, False)], CLASSES)
    assert len(scores) == 2
    assert scores(np.array([0, 0]))["Car"] == pytest.approx(100)
    assert scores(np.array([1, 1, 1]))["Car"] == pytest.approx(0)
    # All scores are equal: one threshold, at which two of three objects are found and one of three boxes is wrong.
    assert scores(np.array([0, 0, 1]))["Car"] == pytest.approx(100 * (2 / 3) * (2 / 3))
    assert math.isnan(scores(np.array([0, 1]))["Cyclist"])


def test_overlap_and_metric_are_those_asked_for() -> None:
    frames = [car_frame(0, True, size_m=3.2)]  # an overlap of 2 / 3.2: between 0.5 and 0.7
    for overlap, ap in (("strict", 0), ("loose", 100)):
        assert FrameScores(frames, CLASSES, "bev", overlap)(np.array([0]))["Car"] == pytest.approx(ap)
