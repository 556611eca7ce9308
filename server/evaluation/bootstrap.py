"""How far an average precision would move with other frames of the same kind: the bootstrap over frames.

Frames are drawn with replacement (B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13, 16).
Neighbouring frames of one drive are not independent, so an interval over them is too narrow. `bootstrap` gives
intervals of every number, `FrameScores` the AP on draws that somebody else makes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from server.evaluation import kitti
from server.evaluation.evaluator import suited_config
from server.evaluation.kitti_config import KittiEvaluationConfig
from server.evaluation.objects import EvaluatedFrame
from server.evaluation.run_evaluation import numbers_of, rules_of_overlap
from shared_models.errors import InvalidValueError
from shared_models.records import check

if TYPE_CHECKING:
    from collections.abc import Iterator


_DIFFICULTY: Final = ("moderate", "all")  # where every frame has a camera, and where not


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


class FrameScores:
    """All-point AP of what one detector found in some frames, for comparing detectors on the same draws."""

    def __init__(
        self, frames: Sequence[EvaluatedFrame], class_names: Sequence[str], metric: str = "3d", overlap: str = "strict"
    ) -> None:
        """metric: "3d" or "bev". overlap: as `RunEvaluationConfig.overlaps`. Objects of moderate difficulty count."""
        self._frames = tuple(replace(frame, found=None) for frame in frames)
        suited = suited_config(self._frames, class_names)
        self._config = replace(
            _lean(suited, (metric,)),
            classes=rules_of_overlap(suited.classes)[overlap],
            difficulties=tuple(each for each in suited.difficulties if each.name in _DIFFICULTY),
        )

    def __len__(self) -> int:
        return len(self._frames)

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """AP in percent by class on these frames, each as often as its number stands in `rows`; NaN without objects."""
        report = kitti.evaluate_kitti(_drawn(self._frames, rows), self._config)
        return {score.class_name: score.ap_all for score in report.scores if score.metric in self._config.metrics}


def percentile_interval(draws: Sequence[float] | NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """The middle `confidence` of the draws' values: from one quantile to the other."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _draws(config: BootstrapConfig, *aligned: Sequence[EvaluatedFrame]) -> Iterator[tuple[list[EvaluatedFrame], ...]]:
    rng = np.random.default_rng(config.seed)
    for _ in range(config.rounds):
        rows = rng.integers(0, len(aligned[0]), len(aligned[0]))
        yield tuple(_drawn(frames, rows) for frames in aligned)


def _drawn(frames: Sequence[EvaluatedFrame], rows: NDArray[np.int64]) -> list[EvaluatedFrame]:
    """A frame that is drawn twice counts as two frames."""
    return [replace(frames[row], frame_id=f"draw-{place}") for place, row in enumerate(rows.tolist())]


def _numbers(frames: Sequence[EvaluatedFrame], rules: Mapping[str, KittiEvaluationConfig]) -> dict[str, float]:
    lean = {name: _lean(own, tuple(m for m in own.metrics if m != "image")) for name, own in rules.items()}
    return numbers_of({name: kitti.evaluate_kitti(frames, own) for name, own in lean.items()})


def _lean(rules: KittiEvaluationConfig, metrics: tuple[str, ...]) -> KittiEvaluationConfig:
    """Only these metrics, without distance bands, and without a warning of few objects for every draw."""
    return replace(rules, metrics=metrics, distance_edges_m=(), few_objects=0)


def _intervals(
    value: dict[str, float], draws: Iterator[dict[str, float]], config: BootstrapConfig
) -> dict[str, Interval]:
    drawn: dict[str, list[float]] = {name: [] for name in value}
    for numbers in draws:
        for name in value:
            if not math.isnan(numbers.get(name, math.nan)):
                drawn[name].append(numbers[name])
    intervals = {}
    for name, found in drawn.items():
        if found:
            low, high = percentile_interval(found, config.confidence)
            intervals[name] = Interval(value=value[name], low=low, high=high, rounds=len(found))
    return intervals
