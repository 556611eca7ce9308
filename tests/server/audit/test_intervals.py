"""Means over scenes and their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from server.audit.intervals import IntervalConfig, estimate
from shared_models.errors import InvalidValueError


def test_the_interval_is_that_of_the_means_sampling_distribution() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400).tolist()
    found = estimate(values, IntervalConfig(rounds=4000), seed=1)
    spread = 1.96 * np.std(values) / math.sqrt(400)
    assert found.mean == pytest.approx(np.mean(values))
    assert (found.low, found.high) == (
        pytest.approx(np.mean(values) - spread, abs=0.03),
        pytest.approx(np.mean(values) + spread, abs=0.03),
    )
    assert estimate(values, IntervalConfig(rounds=4000), seed=1) == found


def test_scenes_without_a_number_are_left_out() -> None:
    found = estimate([1.0, math.nan, 2.0, 3.0, 4.0, 5.0], IntervalConfig(), seed=0)
    assert (found.mean, found.scenes) == (3.0, 5)


def test_too_few_scenes_have_a_mean_and_no_interval() -> None:
    few = estimate([1.0, 2.0], IntervalConfig(), seed=0)
    assert (few.mean, few.low, few.high, few.scenes) == (1.5, None, None, 2)
    none = estimate([math.nan], IntervalConfig(), seed=0)
    assert (none.mean, none.scenes) == (None, 0)


def test_equal_numbers_have_an_interval_without_width() -> None:
    found = estimate([0.25] * 8, IntervalConfig(), seed=3)
    assert (found.low, found.mean, found.high) == (0.25, 0.25, 0.25)


def test_senseless_settings_are_refused() -> None:
    for wrong in ({"rounds": 1}, {"confidence": 1.0}, {"fewest_scenes": 1}):
        with pytest.raises(InvalidValueError, match="IntervalConfig"):
            IntervalConfig(**wrong)
