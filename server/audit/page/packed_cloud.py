"""Two clouds as text for the page's 3D view: whole centimetres, thinned, each point with its distance to the other."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

STEP_M: Final = 0.01
FARTHEST_M: Final = 320.0  # from the sensor; what lies farther does not fit into 16 bits
DISTANCE_LIMIT_M: Final = 1.0  # distances of this and more are all drawn alike
BYTES_PER_POINT: Final = 7
SEED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedClouds:
    """Original and reconstruction.

    data: base64 of int16 x, y, z (little endian, `STEP_M`) of all points of the original and then of the
        reconstruction, and of one byte for each: 255 is `DISTANCE_LIMIT_M` or more from the other cloud.
    truth, found: points in `data`. of_truth, of_found: points there were before thinning.
    """

    data: str
    truth: int
    found: int
    of_truth: int
    of_found: int

    @property
    def is_thinned(self) -> bool:
        """Some points were left out."""
        return self.truth < self.of_truth or self.found < self.of_found


def packed(truth: NDArray[np.floating], found: NDArray[np.floating], most: int) -> PackedClouds:
    """Pack (N, 3 or more) and (M, 3 or more), metres, at most `most` points of each, drawn evenly at random.

    Distances are measured before points are left out.
    """
    clouds = [np.asarray(cloud[:, :3], np.float64) for cloud in (truth, found)]
    distances = [_distances(clouds[0], clouds[1]), _distances(clouds[1], clouds[0])]
    kept = [_kept(cloud, most) for cloud in clouds]
    steps = np.concatenate([cloud[rows] for cloud, rows in zip(clouds, kept, strict=True)]) / STEP_M
    shades = np.concatenate([each[rows] for each, rows in zip(distances, kept, strict=True)]) / DISTANCE_LIMIT_M
    raw = np.rint(steps).astype("<i2").tobytes() + np.rint(np.clip(shades, 0, 1) * 255).astype(np.uint8).tobytes()
    return PackedClouds(
        data=base64.b64encode(raw).decode(),
        truth=len(kept[0]),
        found=len(kept[1]),
        of_truth=len(truth),
        of_found=len(found),
    )


def _distances(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(source) == 0 or len(target) == 0:
        return np.full(len(source), np.inf)
    found: NDArray[np.float64] = cKDTree(target).query(source)[0]
    return found


def _kept(cloud: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    rows = np.flatnonzero(np.isfinite(cloud).all(1) & (np.abs(cloud) < FARTHEST_M).all(1))
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, most, replace=False))
