"""The gate, on scores that are worked out by hand from made-up frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from server.training.gate import GateConfig, GateDecision, Scores, judge


def found_in(car: Sequence[float], cyclist: Sequence[float] = ()) -> Scores:
    """A detector that finds this share of each frame's objects; a NaN says that a frame has none of the class."""

    def of(rows):
        found = {"Car": float(np.mean(np.array(car)[rows])) * 100}
        values = np.array(cyclist)[rows] if len(cyclist) else np.array([np.nan])
        there = values[~np.isnan(values)]
        return found | {"Cyclist": float(there.mean()) * 100 if len(there) else float("nan")}

    return of


def decide(new: Scores, *old: Scores, frames: int = 20, **settings) -> GateDecision:
    against = {f"number {number}": scores for number, scores in enumerate(old)}
    return judge(new, against, frames, GateConfig(**settings), (1,))


def test_the_first_checkpoint_passes() -> None:
    decision = decide(found_in([0.5] * 20))
    assert (decision.is_passed, decision.why) == (True, "the first one")
    assert decision.scores == {"Car": 50.0, "mean": 50.0}  # a class without objects is not watched


@pytest.mark.parametrize(("lower", "is_passed"), [(0.0, True), (0.009, True), (0.011, False), (-0.2, True)])
def test_the_margin_of_the_mean_over_classes(lower: float, is_passed: bool) -> None:
    decision = decide(found_in([0.5 - lower] * 20), found_in([0.5] * 20))
    assert decision.is_passed is is_passed
    assert decision.differences["mean"] == pytest.approx(-100 * lower)
    assert decision.numbers()["gate/difference/mean"] == pytest.approx(-100 * lower)


def test_every_class_is_watched() -> None:
    new, old = found_in([0.9] * 20, [0.4] * 20), found_in([0.5] * 20, [0.5] * 20)
    decision = decide(new, old)
    assert decision.differences["mean"] > 0
    assert not decision.is_passed
    assert "Cyclist -10.0 points (more than 3 worse in 100% of the draws) than number 0" in decision.why
    assert decide(new, old, class_margin=11).is_passed


def test_one_missed_object_of_a_rare_class_does_not_stop_a_checkpoint() -> None:
    nan = float("nan")
    rare = [1.0] * 5 + [nan] * 15
    one_missed = [0.0, *rare[1:]]
    new, old = found_in([0.52] * 20, one_missed), found_in([0.5] * 20, rare)
    assert decide(new, old).differences["Cyclist"] == pytest.approx(-20)
    assert not decide(new, old, resamples=0, margin=100).is_passed  # the plain difference does
    # The frame with the miss is in 1 - 0.95^20 = 64 % of the draws: too few to be sure.
    assert decide(new, old, resamples=400, margin=100).is_passed
    assert not decide(new, old, resamples=400, margin=100, confidence=0.5).is_passed


def test_worse_than_one_of_two_is_worse() -> None:
    now, last, best = found_in([0.5] * 20), found_in([0.505] * 20), found_in([0.52] * 20)
    assert decide(now, last).is_passed
    decision = decide(now, last, best)
    assert not decision.is_passed
    assert decision.why.endswith("than number 1")
    assert decision.differences["Car"] == pytest.approx(-2)


def test_the_draws_are_the_same_each_time() -> None:
    rng = np.random.default_rng(0)
    new, old = found_in(rng.random(20)), found_in(rng.random(20))
    assert decide(new, old) == decide(new, old)
