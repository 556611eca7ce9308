"""How dense a scan is in elevation and azimuth, from coordinates alone (datasets order their points differently)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

COLUMN_RAD: Final = np.radians(0.4)  # a little over one firing of the slowest sensor
ROW_GAP_RAD: Final = np.radians(0.12)  # below the smallest beam spacing of these sensors, above range noise
ROW_WIDTH_RAD: Final = np.radians(0.1)
MAX_STEP_RAD: Final = np.radians(1.5)  # a longer step is a gap between objects
MIN_RANGE_M: Final = 3.0  # nearer, the vehicle itself and the sensor's size disturb the angles


def angles(points: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Azimuth (counter-clockwise from x), elevation, both radians, and range in metres, each (N,).

    points: (N, F) float32 [x y z ...], metres, origin in the sensor.
    """
    x, y, z = points[:, :3].astype(np.float64).T
    flat = np.hypot(x, y)
    return np.arctan2(y, x), np.arctan2(z, flat), np.hypot(flat, z)


def elevation_rows(points: NDArray[np.float32]) -> int:
    """Distinct elevations in a column of 0.4 degrees azimuth: the 95th percentile over the columns with points.

    Elevations less than 0.12 degrees apart count as one. Where every beam comes back, this is the number of beams.
    """
    azimuth, elevation, distance = angles(points)
    far = distance > MIN_RANGE_M
    if not far.any():
        return 0
    column = np.floor(azimuth[far] / COLUMN_RAD).astype(np.int64)
    order = np.lexsort((elevation[far], column))
    column, sorted_elevation = column[order], elevation[far][order]
    is_new = np.ones(len(column), dtype=np.bool_)
    is_new[1:] = (np.diff(column) != 0) | (np.diff(sorted_elevation) > ROW_GAP_RAD)
    rows = np.bincount(column[is_new] - column.min())
    return int(np.percentile(rows[rows > 0], 95))


def azimuth_step(points: NDArray[np.float32]) -> float:
    """Radians between neighbours in a row of 0.1 degrees elevation, median; NaN where no row has two points."""
    azimuth, elevation, distance = angles(points)
    far = distance > MIN_RANGE_M
    row = np.floor(elevation[far] / ROW_WIDTH_RAD).astype(np.int64)
    order = np.lexsort((azimuth[far], row))
    steps = np.diff(azimuth[far][order])
    kept = steps[(np.diff(row[order]) == 0) & (steps > 0) & (steps < MAX_STEP_RAD)]
    return float(np.median(kept)) if len(kept) else float("nan")
