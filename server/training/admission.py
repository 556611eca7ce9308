"""Which new scenes may be learned from: those whose statistics lie where those of held-out labelled frames do.

Each statistic's distance is |value - median| / spread, both of the held-out frames; a scene's distance is the largest
of them, so that what is wrong with it has a name. From which distance on a scene is kept out follows from the
held-out frames' own distances, as in conformal prediction (V. Vovk et al., "Algorithmic Learning in a Random World",
2005): of scenes that are like these frames about `share` is kept out by mistake. Each frame is measured against the
frames outside of its own block of neighbours, because those of one drive are more like each other than like the next
drive's (V. Vovk, "Cross-conformal predictors", 2015, with blocks as folds). A Mahalanobis distance would need a
covariance of about forty statistics from few frames, and could not say which of them is to blame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.training.scene_statistics import COUNT
from shared_models.errors import ConfigError
from shared_models.records import check

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionConfig:
    """When a new scene is kept out (quarantined).

    share: of sound scenes that may be kept out by mistake, 0 to 1; F held-out frames can promise 1 / (F + 1) at best.
    spread: a statistic's unit: this share of the held-out frames lies within one of it around the median. Nearly all
        of them, because otherwise the one with the longest tails would set the limit for all others.
    least_scale: smallest unit: of logarithms and shares as it is, of features in standard deviations of their channels.
    least_count_scale: the same of square roots of numbers of boxes; nine of ten Poisson numbers lie within 0.8.
    least_limit: distances below this are never too large, in units.
    folds: blocks of neighbouring held-out frames; as many as there are drives, or fewer.
    groups: of channels that are looked at each for itself.
    frames: held-out frames that are compared with at most, spread evenly; 0 takes all. least_frames: fewer of them
        are refused.
    reasons: statistics that are named for each scene at most.
    """

    share: float = 0.02
    spread: float = 0.98
    least_scale: float = 0.05
    least_count_scale: float = 0.8
    least_limit: float = 2.0
    folds: int = 10
    groups: int = 8
    frames: int = 200
    least_frames: int = 8
    reasons: int = 5

    def __post_init__(self) -> None:
        check.number("AdmissionConfig", "share", self.share, 0, 1)
        check.number("AdmissionConfig", "spread", self.spread, 0.1, 1)
        check.number("AdmissionConfig", "least_scale", self.least_scale, 1e-6, 1e6)
        check.number("AdmissionConfig", "least_count_scale", self.least_count_scale, 1e-6, 1e6)
        check.number("AdmissionConfig", "least_limit", self.least_limit, 0, 1e6)
        check.count("AdmissionConfig", "folds", self.folds, 10**6, 2)
        check.count("AdmissionConfig", "groups", self.groups, 4096)
        check.count("AdmissionConfig", "frames", self.frames, 10**6, 0)
        check.count("AdmissionConfig", "least_frames", self.least_frames, 10**6, 3)
        check.count("AdmissionConfig", "reasons", self.reasons, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A statistic that is too far off. value: the scene's. expected: the held-out frames' median. distance: in units.

    value is NaN, and the statistic says why, for scenes that cannot be read at all.
    """

    statistic: str
    value: float
    expected: float
    distance: float

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: None for what is not finite."""
        return {
            "statistic": self.statistic,
            **{name: _finite(getattr(self, name)) for name in ("value", "expected", "distance")},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """On one scene.

    distance: its largest, in units. reasons: the worst statistics beyond the limit, the worst first.
    """

    is_sound: bool
    distance: float
    reasons: tuple[Reason, ...] = ()

    @classmethod
    def unreadable(cls, why: str) -> Verdict:
        """On a scene that could not be decoded or does not fit the detector."""
        nothing = Reason(statistic=why, value=math.nan, expected=math.nan, distance=math.inf)
        return cls(is_sound=False, distance=math.inf, reasons=(nothing,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What held-out labelled frames are like.

    names: S statistics. medians, scales: (S,) float64, the median and the unit of each.
    limit: scenes further off than this are kept out. frames: that it is made from.
    """

    names: tuple[str, ...]
    medians: Floats
    scales: Floats
    limit: float
    frames: int
    config: AdmissionConfig

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, float]], config: AdmissionConfig) -> Reference:
        """From the statistics of held-out frames. Statistics that less than half of them have are not compared.

        Raises:
            ConfigError: there are fewer frames than `least_frames`.
        """
        if len(rows) < config.least_frames:
            raise ConfigError(
                f"follow.admission: {len(rows)} held-out labelled frames are too few to compare new scenes with, "
                f"expected at least {config.least_frames}; give data.evaluation more"
            )
        table = {name: np.array([row.get(name, np.nan) for row in rows]) for name in rows[0]}
        names = tuple(name for name, values in table.items() if np.isfinite(values).sum() * 2 >= len(rows))
        values = np.stack([np.where(np.isfinite(table[name]), table[name], np.nan) for name in names], axis=1)
        least = np.array([_least(name, table, config) for name in names])
        medians, scales = _fitted(values, least, config.spread)
        return cls(
            names=names,
            medians=medians,
            scales=scales,
            limit=max(_limit(values, least, config), config.least_limit),
            frames=len(rows),
            config=config,
        )

    def judge(self, statistics: Mapping[str, float]) -> Verdict:
        """Whether a scene with these statistics may be learned from."""
        values = np.array([statistics.get(name, np.nan) for name in self.names])
        distances = _distances(values, self.medians, self.scales)
        worst = np.argsort(-distances, kind="stable")[: self.config.reasons]
        reasons = tuple(
            Reason(
                statistic=self.names[row],
                value=float(values[row]),
                expected=float(self.medians[row]),
                distance=float(distances[row]),
            )
            for row in worst
            if distances[row] > self.limit
        )
        return Verdict(is_sound=not reasons, distance=float(distances.max(initial=0.0)), reasons=reasons)


def _limit(values: Floats, least: Floats, config: AdmissionConfig) -> float:
    """The distance that at most `share` of the frames exceeds, each measured against those outside of its block."""
    count = len(values)
    own = np.empty(count)
    for block in np.array_split(np.arange(count), min(config.folds, count)):
        medians, scales = _fitted(np.delete(values, block, axis=0), least, config.spread)
        for row in block.tolist():
            own[row] = _distances(values[row], medians, scales).max(initial=0.0)
    rank = min(count, math.ceil((count + 1) * (1 - config.share)))
    return float(np.sort(own)[max(rank, 1) - 1])


def _fitted(values: Floats, least: Floats, spread: float) -> tuple[Floats, Floats]:
    """Median and unit of each column, NaN left out."""
    medians = np.nanmedian(values, axis=0)
    scales = np.nanquantile(np.abs(values - medians), spread, axis=0)
    return medians, np.maximum(scales, least)


def _distances(values: Floats, medians: Floats, scales: Floats) -> Floats:
    """(S,) in units; 0 where there is nothing to measure."""
    distances = np.abs(values - medians) / scales
    distances[np.isnan(values)] = 0.0
    return distances


def _least(name: str, table: Mapping[str, Floats], config: AdmissionConfig) -> float:
    """The smallest unit of a statistic."""
    if name.startswith(COUNT):
        return config.least_count_scale
    kind, _, what = name.partition("/")
    deviation = table.get(f"{kind}/std_{what.rpartition('_')[2]}") if what.startswith(("mean_", "std_")) else None
    if deviation is None:
        return config.least_scale
    finite = deviation[np.isfinite(deviation)]
    return config.least_scale * max(float(np.median(finite)) if len(finite) else 0.0, 1e-6)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
