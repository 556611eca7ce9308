"""Means over scenes with percentile bootstrap intervals (B. Efron, R. Tibshirani, 1993, chapter 13)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.evaluation.bootstrap import percentile_interval
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

    scenes: how many have a number.
    """

    mean: float | None
    low: float | None
    high: float | None
    scenes: int


def estimate(values: Sequence[float], config: IntervalConfig, seed: int, drives: Sequence[str] = ()) -> Estimate:
    """The mean of `values`, one per scene, NaN where a scene has none, and its interval.

    drives: of each scene; whole drives are drawn, and with fewer than `fewest_scenes` of them there is no interval.
        Without any, each scene is a drive of its own.
    """
    every = np.asarray(values, np.float64)
    is_known = ~np.isnan(every)
    numbers = every[is_known]
    if len(numbers) == 0:
        return Estimate(mean=None, low=None, high=None, scenes=0)
    mean = float(numbers.mean())
    sums, counts = _by_drive(numbers, np.flatnonzero(is_known), drives)
    if len(counts) < config.fewest_scenes:
        return Estimate(mean=mean, low=None, high=None, scenes=len(numbers))
    rows = np.random.default_rng(seed).integers(0, len(counts), (config.rounds, len(counts)))
    low, high = percentile_interval(sums[rows].sum(1) / counts[rows].sum(1), config.confidence)
    return Estimate(mean=mean, low=low, high=high, scenes=len(numbers))


def _by_drive(
    numbers: NDArray[np.float64], scenes: NDArray[np.int64], drives: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum and count of the numbers of each drive, in the order in which drives first come."""
    place: dict[str, int] = {}
    own = [place.setdefault(drives[scene] if drives else str(scene), len(place)) for scene in scenes.tolist()]
    return np.bincount(own, weights=numbers).astype(np.float64), np.bincount(own).astype(np.int64)


def estimate_of(
    statistic: Callable[[NDArray[np.int64]], float],
    drives: Sequence[str],
    config: IntervalConfig,
    seed: int,
    sides: Sequence[str] | None = None,
) -> Estimate:
    """A statistic of all scenes, and its interval from drawing whole drives: scenes of one drive are alike.

    statistic: of the scenes in these rows, each as often as its row comes; NaN where there is none, draws with NaN are
        left out.
    drives: of each of the S scenes. sides: of each scene, where drives of several sides are drawn apart from each other
        (members and others). With fewer than `fewest_scenes` drives on a side there is no interval.
    """
    sides = sides or [""] * len(drives)
    rows: dict[str, dict[str, list[int]]] = {}
    for row, (side, drive) in enumerate(zip(sides, drives, strict=True)):
        rows.setdefault(side, {}).setdefault(drive, []).append(row)
    value = statistic(np.arange(len(drives))) if drives else float("nan")
    if np.isnan(value):
        return Estimate(mean=None, low=None, high=None, scenes=0)
    bare = Estimate(mean=value, low=None, high=None, scenes=len(drives))
    if min(len(own) for own in rows.values()) < config.fewest_scenes:
        return bare
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(config.rounds):
        drawn = [_drawn(list(own.values()), generator) for own in rows.values()]
        found.append(statistic(np.concatenate(drawn)))
    numbers = np.asarray(found)[~np.isnan(found)]
    if len(numbers) < 2:
        return bare
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(numbers, [tail, 1 - tail])
    return Estimate(mean=value, low=float(low), high=float(high), scenes=len(drives))


def _drawn(groups: list[list[int]], generator: np.random.Generator) -> NDArray[np.int64]:
    """Rows of as many groups as there are, drawn with replacement."""
    chosen = generator.integers(0, len(groups), len(groups)).tolist()
    return np.concatenate([np.asarray(groups[index], np.int64) for index in chosen])
