"""Bootstrap intervals against what can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from server.evaluation.bootstrap import BootstrapConfig, bootstrap, bootstrap_difference
from server.evaluation.kitti import evaluate_kitti
from server.evaluation.kitti_config import KittiEvaluationConfig
from server.evaluation.objects import EvaluatedFrame
from shared_models.errors import InvalidValueError

NAME = "ap_all/strict/car/3d/moderate"
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
