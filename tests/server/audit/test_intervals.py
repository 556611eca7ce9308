"""Means over scenes and their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from server.audit.intervals import IntervalConfig, estimate, estimate_of
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


def test_scenes_of_one_drive_are_drawn_together() -> None:
    """Ten drives of eight equal scenes say as much as ten scenes, not as much as eighty."""
    numbers = np.repeat(np.random.default_rng(0).normal(size=10), 8)
    drives = np.repeat([f"d{number}" for number in range(10)], 8).tolist()
    config = IntervalConfig(rounds=500)

    def mean(rows: np.ndarray) -> float:
        return float(numbers[rows].mean())

    by_drive = estimate_of(mean, drives, config, seed=0)
    by_scene = estimate_of(mean, [str(n) for n in range(80)], config, seed=0)
    assert by_drive.mean == by_scene.mean == pytest.approx(numbers.mean())
    assert by_drive.high - by_drive.low > 2 * (by_scene.high - by_scene.low)
    once = estimate(numbers[::8].tolist(), IntervalConfig(rounds=4000), seed=0)
    assert by_drive.high - by_drive.low == pytest.approx(once.high - once.low, rel=0.25)


def test_means_over_drives_are_drawn_as_any_statistic_of_drives_is() -> None:
    """The quick way for means against the general one, which draws rows; drives of different lengths, one unknown."""
    random = np.random.default_rng(2)
    drives = [f"d{number}" for number in range(12) for _ in range(1 + number % 4)]
    numbers = random.normal(size=len(drives))
    numbers[3] = math.nan
    config = IntervalConfig(rounds=4000)
    found = estimate(numbers.tolist(), config, 0, drives)
    slow = estimate_of(lambda rows: float(np.nanmean(numbers[rows])), drives, config, seed=1)
    assert found.mean == pytest.approx(slow.mean)
    assert (found.low, found.high) == (pytest.approx(slow.low, abs=0.03), pytest.approx(slow.high, abs=0.03))
    assert found.scenes == len(drives) - 1
    few = estimate([0.0, 1.0] * 10, config, 0, ["a", "b"] * 10)
    assert (few.mean, few.low, few.high, few.scenes) == (0.5, None, None, 20)


def test_sides_are_drawn_apart_and_keep_their_drives() -> None:
    sides, drives = ["a"] * 5 + ["b"] * 5, [str(number) for number in range(10)]
    seen: list[tuple[int, int]] = []

    def count(rows: np.ndarray) -> float:
        seen.append(((rows < 5).sum(), (rows >= 5).sum()))
        return 0.0

    estimate_of(count, drives, IntervalConfig(rounds=20), 0, sides)
    assert set(seen) == {(5, 5)}


def test_too_few_drives_have_no_interval() -> None:
    few = estimate_of(lambda rows: 1.0, ["a", "b"] * 20, IntervalConfig(), 0)
    assert (few.mean, few.low, few.scenes) == (1.0, None, 40)
    none = estimate_of(lambda rows: math.nan, ["a"], IntervalConfig(), 0)
    assert (none.mean, none.scenes) == (None, 0)
