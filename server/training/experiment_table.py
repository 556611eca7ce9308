"""What an experiment's table shows: means with confidence intervals, and closed gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from server.training.cell_results import CellResult
from server.training.experiment import ExperimentConfig
from shared_models.errors import InvalidValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Mean over cells with a confidence interval (Student's t). half_width: NaN with fewer than two cells."""

    mean: float
    half_width: float
    count: int

    def __str__(self) -> str:
        width = "" if math.isnan(self.half_width) else f" ± {self.half_width:.2f}"
        return f"{self.mean:.2f}{width} ({self.count})"

    def signed(self) -> str:
        """As a difference, with its sign."""
        return f"{'+' if self.mean >= 0 else ''}{self}"


def estimate(values: Sequence[float], confidence: float) -> Estimate:
    """Mean and interval of `values`, at least one."""
    count, mean = len(values), sum(values) / len(values)
    if count < 2:
        return Estimate(mean=mean, half_width=math.nan, count=count)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    factor = float(stats.t.ppf((1 + confidence) / 2, count - 1))
    return Estimate(mean=mean, half_width=factor * deviation / math.sqrt(count), count=count)


def summary(results: Sequence[CellResult], config: ExperimentConfig) -> dict[str, dict[str, Estimate]]:
    """Metric by method: the mean over splits and seeds; methods without a finished cell are left out."""
    found: dict[str, dict[str, Estimate]] = {}
    for method in config.methods:
        own = [result for result in results if result.method == method.name]
        for metric in config.metrics:
            values = [result.numbers[metric] for result in own if metric in result.numbers]
            if values:
                found.setdefault(method.name, {})[metric] = estimate(values, config.confidence)
    return found


def closed_gaps(results: Sequence[CellResult], config: ExperimentConfig) -> dict[str, dict[str, Estimate]]:
    """Closed gap in percent by method and metric, (AP - from) / (to - from), as ST3D and UpCycling report it.

    Each cell is compared with the two reference cells of its own split and seed; cells without them are left out.
    """
    found: dict[str, dict[str, list[float]]] = {}
    if not (config.gap_from and config.gap_to):
        return {}
    by_place = {(result.method, result.split, result.seed): result.numbers for result in results}
    for result in results:
        low, high = (by_place.get((m, result.split, result.seed), {}) for m in (config.gap_from, config.gap_to))
        for metric in config.metrics:
            ends = (low.get(metric), high.get(metric), result.numbers.get(metric))
            if None not in ends and ends[0] != ends[1]:
                start, end, own = (float(value) for value in ends if value is not None)
                gap = 100 * (own - start) / (end - start)
                found.setdefault(result.method, {}).setdefault(metric, []).append(gap)
    return {
        method: {metric: estimate(values, config.confidence) for metric, values in own.items()}
        for method, own in found.items()
    }


def differences(
    results: Sequence[CellResult], config: ExperimentConfig, against: str
) -> dict[str, dict[str, Estimate]]:
    """Metric - metric of the method `against` by method and metric, the mean over splits and seeds that both have.

    What splits and seeds do to both alike cancels out, which the intervals of the methods themselves contain.

    Raises:
        InvalidValueError: there is no such method.
    """
    names = [method.name for method in config.methods]
    if against not in names:
        raise InvalidValueError(f"expected one of the methods {', '.join(names)}, got {against!r}")
    reference = {(result.split, result.seed): result.numbers for result in results if result.method == against}
    found: dict[str, dict[str, list[float]]] = {}
    for result in results:
        other = reference.get((result.split, result.seed), {})
        for metric in config.metrics:
            pair = result.numbers.get(metric), other.get(metric)
            if result.method != against and pair[0] is not None and pair[1] is not None:
                found.setdefault(result.method, {}).setdefault(metric, []).append(pair[0] - pair[1])
    return {
        method: {metric: estimate(values, config.confidence) for metric, values in own.items()}
        for method, own in found.items()
    }
