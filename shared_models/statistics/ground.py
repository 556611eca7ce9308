"""A simple estimate of which points lie on the ground."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

CELL_M: Final = 4.0
LOW_PERCENTILE: Final = 5.0  # the lowest points of a cell are strays and reflections
THICKNESS_M: Final = 0.2
MAX_STEP_M: Final = 0.5  # between a cell and the middle of its neighbours
MIN_POINTS: Final = 3


def ground_mask(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(N,) bool: points at most 0.2 m above the ground of their cell.

    The ground of a 4 m x 4 m cell is the 5th percentile of the heights in it. A cell whose ground lies more than 0.5 m
    above the median of the 7 x 7 cells around it is taken to hold no ground (a roof, a bush, a wall): its ground is
    that median.

    points: (N, F) float32 [x y z ...], metres, z up.
    """
    if not len(points):
        return np.zeros(0, dtype=np.bool_)
    cells = np.floor(points[:, :2] / CELL_M).astype(np.int64)
    cells -= cells.min(axis=0)
    width = int(cells[:, 1].max()) + 1
    keys = cells[:, 0] * width + cells[:, 1]
    present, owner, counts = np.unique(keys, return_inverse=True, return_counts=True)
    low = _low_heights(points[:, 2].astype(np.float64), owner, counts)
    low[counts < MIN_POINTS] = np.nan
    rows, columns = np.divmod(present, width)
    grid = np.full((int(rows.max()) + 7, width + 6), np.nan)
    grid[rows + 3, columns + 3] = low
    around = np.stack([grid[rows + dy, columns + dx] for dy in range(7) for dx in range(7)])
    has_neighbours = np.isfinite(around).any(axis=0)
    middle = np.full(len(present), np.nan)
    middle[has_neighbours] = np.nanmedian(around[:, has_neighbours], axis=0)
    ground = np.where(np.isfinite(low) & (low - middle <= MAX_STEP_M), low, middle)
    is_ground: NDArray[np.bool_] = points[:, 2] - ground[owner] <= THICKNESS_M
    return is_ground


def _low_heights(
    heights: NDArray[np.float64], owner: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(C,) the LOW_PERCENTILE of the heights of each cell; `owner` gives each point's cell."""
    order = np.lexsort((heights, owner))
    starts = np.cumsum(counts) - counts
    rank = np.floor((counts - 1) * LOW_PERCENTILE / 100).astype(np.int64)
    low: NDArray[np.float64] = heights[order][starts + rank]
    return low
