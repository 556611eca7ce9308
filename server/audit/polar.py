"""Points or cells seen from above as rings and sectors around the sensor: the picture of a place.

In the spirit of Scan Context (G. Kim, A. Kim, IROS 2018), whose picture holds the largest height in each ring and
sector. Here the amplitudes of the Fourier transform over the sectors make it independent of where the vehicle looks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class PolarConfig:
    """The picture.

    rings: between the sensor and `reach_m`. sectors: of a whole turn. reach_m: metres along the ground.
    is_turnable: whether scans that were taken with another heading are told again; that costs some sharpness.
    """

    rings: int = 20
    sectors: int = 60
    reach_m: float = 40.0
    is_turnable: bool = True

    def __post_init__(self) -> None:
        check.count("PolarConfig", "rings", self.rings, 1000)
        check.count("PolarConfig", "sectors", self.sectors, 1000)
        check.number("PolarConfig", "reach_m", self.reach_m, 1, 1000)


def polar_picture(
    positions: NDArray[np.floating], values: NDArray[np.floating], config: PolarConfig
) -> NDArray[np.float32]:
    """(D,) float32 of length 1, or all 0 where nothing is in reach.

    positions: (V, 2 or more) [x y ...], metres, LiDAR frame. values: (V, C), at least 0; the largest of each ring and
    sector counts.
    """
    picture = np.zeros((config.rings, config.sectors, values.shape[1]))
    x, y = positions[:, 0].astype(np.float64), positions[:, 1].astype(np.float64)
    ring = np.floor(np.hypot(x, y) / config.reach_m * config.rings).astype(np.int64)
    sector = np.floor((np.arctan2(y, x) / (2 * np.pi) + 0.5) * config.sectors).astype(np.int64) % config.sectors
    kept = ring < config.rings
    np.maximum.at(picture, (ring[kept], sector[kept]), values[kept])
    if config.is_turnable:
        picture = np.abs(np.fft.rfft(picture, axis=1))
    # Each channel counts alike, whatever its unit.
    picture = _to_length_one(picture.reshape(-1, values.shape[1]), 0)
    return _to_length_one(picture.reshape(-1), 0).astype(np.float32)


def _to_length_one(array: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    length = np.linalg.norm(array, axis=axis, keepdims=True)
    return np.divide(array, length, out=np.zeros_like(array), where=length > 0)
