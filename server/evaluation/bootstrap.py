"""How far an average precision would move with other frames of the same kind: percentile bootstrap over frames.

Frames are drawn with replacement (B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13, 16).
Neighbouring frames of one drive are not independent, so an interval over them is too narrow.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from server.evaluation import kitti
from server.evaluation.kitti_config import KittiEvaluationConfig
from server.evaluation.objects import EvaluatedFrame
from server.evaluation.run_evaluation import numbers_of
from shared_models.errors import InvalidValueError
from shared_models.records import check

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapConfig:
    """rounds: draws of all frames. seed: of the draws. confidence: share of the draws inside the interval."""

    rounds: int = 1000
    seed: int = 0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check.count("BootstrapConfig", "rounds", self.rounds, 10**6, 2)
        check.number("BootstrapConfig", "confidence", self.confidence, 0.01, 0.9999)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """value: of the frames as they are. low, high: quantiles of the draws. rounds: draws in which there is a number."""

    value: float
    low: float
    high: float
    rounds: int


def bootstrap(
    frames: Sequence[EvaluatedFrame], rules: Mapping[str, KittiEvaluationConfig], config: BootstrapConfig
) -> dict[str, Interval]:
    """All-point AP in percent by name ("ap_all/strict/car/3d/moderate"), with intervals.

    rules: by name of the overlaps, as in `RunEvaluation.rules`.
    """
    return _intervals(_numbers(frames, rules), (_numbers(drawn, rules) for (drawn,) in _draws(config, frames)), config)


def bootstrap_difference(
    before: Sequence[EvaluatedFrame],
    after: Sequence[EvaluatedFrame],
    rules: Mapping[str, KittiEvaluationConfig],
    config: BootstrapConfig,
) -> dict[str, Interval]:
    """AP of `after` minus AP of `before`, points; both get the same frames in each draw.

    Raises:
        InvalidValueError: they are not about the same frames.
    """
    if [frame.frame_id for frame in before] != [frame.frame_id for frame in after]:
        raise InvalidValueError("bootstrap: expected the same frames before and after, in the same order")

    def difference(first: Sequence[EvaluatedFrame], second: Sequence[EvaluatedFrame]) -> dict[str, float]:
        earlier, later = _numbers(first, rules), _numbers(second, rules)
        return {name: later[name] - earlier[name] for name in earlier if name in later}

    draws = (difference(first, second) for first, second in _draws(config, before, after))
    return _intervals(difference(before, after), draws, config)


def _draws(config: BootstrapConfig, *aligned: Sequence[EvaluatedFrame]) -> Iterator[tuple[list[EvaluatedFrame], ...]]:
    rng = np.random.default_rng(config.seed)
    for _ in range(config.rounds):
        chosen = rng.integers(0, len(aligned[0]), len(aligned[0])).tolist()
        # A frame that is drawn twice counts as two frames.
        yield tuple(
            [replace(frames[index], frame_id=f"{place}-{frames[index].frame_id}") for place, index in enumerate(chosen)]
            for frames in aligned
        )


def _numbers(frames: Sequence[EvaluatedFrame], rules: Mapping[str, KittiEvaluationConfig]) -> dict[str, float]:
    with _quietly():
        return numbers_of({name: kitti.evaluate_kitti(frames, _lean(own)) for name, own in rules.items()})


def _lean(rules: KittiEvaluationConfig) -> KittiEvaluationConfig:
    """Without what no number here comes from."""
    return replace(rules, metrics=tuple(m for m in rules.metrics if m != "image"), distance_edges_m=())


def _intervals(
    value: dict[str, float], draws: Iterator[dict[str, float]], config: BootstrapConfig
) -> dict[str, Interval]:
    drawn: dict[str, list[float]] = {name: [] for name in value}
    for numbers in draws:
        for name in value:
            if not math.isnan(numbers.get(name, math.nan)):
                drawn[name].append(numbers[name])
    tail = (1 - config.confidence) / 2
    return {
        name: Interval(
            value=value[name],
            low=float(np.quantile(found, tail)),
            high=float(np.quantile(found, 1 - tail)),
            rounds=len(found),
        )
        for name, found in drawn.items()
        if found
    }


@contextmanager
def _quietly() -> Iterator[None]:
    """Without a warning of few objects for every draw."""
    before = kitti.LOGGER.level
    kitti.LOGGER.setLevel(logging.ERROR)
    try:
        yield
    finally:
        kitti.LOGGER.setLevel(before)
