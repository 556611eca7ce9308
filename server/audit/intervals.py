"""Means over scenes with percentile bootstrap intervals (B. Efron, R. Tibshirani, 1993, chapter 13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalConfig:
    """How intervals are made.

    rounds: draws of all scenes, with replacement. confidence: share of the draws inside the interval.
    fewest_scenes: with fewer scenes that have a number there is no interval.
    """

    rounds: int = 1000
    confidence: float = 0.95
    fewest_scenes: int = 5

    def __post_init__(self) -> None:
        check.count("IntervalConfig", "rounds", self.rounds, 10**6, 2)
        check.number("IntervalConfig", "confidence", self.confidence, 0.01, 0.9999)
        check.count("IntervalConfig", "fewest_scenes", self.fewest_scenes, 10**6, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """mean: over the scenes that have a number, None where none has. low, high: of the interval, None without one.

    scenes: how many have a number. Neighbouring frames of a drive are alike, so over them an interval is too narrow.
    """

    mean: float | None
    low: float | None
    high: float | None
    scenes: int


def estimate(values: Sequence[float], config: IntervalConfig, seed: int) -> Estimate:
    """The mean of `values`, one per scene, NaN where a scene has none, and its interval."""
    numbers = np.asarray([value for value in values if not np.isnan(value)], np.float64)
    if len(numbers) == 0:
        return Estimate(mean=None, low=None, high=None, scenes=0)
    mean = float(numbers.mean())
    if len(numbers) < config.fewest_scenes:
        return Estimate(mean=mean, low=None, high=None, scenes=len(numbers))
    rows = np.random.default_rng(seed).integers(0, len(numbers), (config.rounds, len(numbers)))
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(numbers[rows].mean(1), [tail, 1 - tail])
    return Estimate(mean=mean, low=float(low), high=float(high), scenes=len(numbers))
