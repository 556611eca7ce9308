"""A scene as one row of numbers: statistics of its cells or points, whatever their number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.records import GridFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsConfig:
    """rings: bands of distance in which active cells are counted. reach_m: end of the last, metres along the ground."""

    rings: int = 10
    reach_m: float = 40.0

    def __post_init__(self) -> None:
        check.count("StatisticsConfig", "rings", self.rings, 1000)
        check.number("StatisticsConfig", "reach_m", self.reach_m, 1, 1000)


DEFAULT_STATISTICS = StatisticsConfig()


def grid_statistics(
    grid: GridFeatures, geometry: CutGeometry, config: StatisticsConfig = DEFAULT_STATISTICS
) -> NDArray[np.float64]:
    """(D,) float64: of each channel mean, standard deviation and share above 0 over active cells; how the cells lie."""
    coords = grid.coords.numpy().astype(np.int64)
    features = grid.features.numpy().astype(np.float64)
    levels = np.bincount(coords[:, 0], minlength=grid.shape[0])[: grid.shape[0]] / max(len(coords), 1)
    return np.concatenate((_moments(features), _lie(geometry.centres_m(coords), config), levels))


def point_statistics(points: NDArray[np.float32], config: StatisticsConfig = DEFAULT_STATISTICS) -> NDArray[np.float64]:
    """(D,) float64 of a scan (N, 4) [x y z intensity]: the same of height and intensity, and how the points lie."""
    own = points[:, 2:4].astype(np.float64)
    spread = [np.quantile(own, q, axis=0) if len(own) else np.zeros(2) for q in (0.05, 0.25, 0.5, 0.75, 0.95)]
    return np.concatenate((_moments(own), *spread, _lie(points[:, :3].astype(np.float64), config)))


def _moments(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(rows) == 0:
        return np.zeros(3 * rows.shape[1])
    return np.concatenate((rows.mean(0), rows.std(0), (rows > 0).mean(0)))


def _lie(positions: NDArray[np.float64], config: StatisticsConfig) -> NDArray[np.float64]:
    """Logarithm of the number, and the share in each band of distance."""
    ring = np.floor(np.hypot(positions[:, 0], positions[:, 1]) / config.reach_m * config.rings).astype(np.int64)
    counts = np.bincount(np.minimum(ring, config.rings - 1), minlength=config.rings)
    return np.concatenate(([np.log1p(len(positions))], counts / max(len(positions), 1)))
