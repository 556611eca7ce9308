"""Which points lie in which boxes, and which boxes overlap, for numpy arrays.

The same answers as `shared_models.geometry`, without tensors and for few boxes in a large scan: points far from every
box are left out first by one look into a coarse map, so that the cost grows with the points near boxes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from shared_models.geometry.iou import iou_bev

_CELL_M = 1.0
_MAX_CELLS = 1024  # along one axis of the map; for wider scenes its cells become larger


def first_box_of_points(points: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.int64]:
    """The box that each point lies in: the lowest index where several hold it, -1 where none does.

    points: (N, F) float32 [x y z ...], metres. boxes: (M, 7) in the same frame, their faces included. Gives (N,).
    """
    index = np.full(len(points), -1, dtype=np.int64)
    for k, rows in reversed(list(enumerate(rows_in_boxes(points, boxes)))):  # the lowest box last, so that it wins
        index[rows] = k
    return index


def rows_in_boxes(points: NDArray[np.float32], boxes: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    """For each box the rows of the points in it, ascending; a point may be in several.

    points: (N, F) float32 [x y z ...], metres. boxes: (M, 7) in the same frame, their faces included. Gives M arrays.
    """
    near = rows_near_boxes(points, boxes)
    x, y, z = (points[near, k] for k in range(3))
    inside = []
    for box, radius in zip(boxes, _radius_m(boxes), strict=True):
        close = np.flatnonzero((np.abs(x - box[0]) <= radius) & (np.abs(y - box[1]) <= radius))
        held = _is_inside(x[close] - box[0], y[close] - box[1], z[close] - box[2], box)
        inside.append(near[close[held]])
    return inside


def _is_inside(
    x: NDArray[np.float32], y: NDArray[np.float32], z: NDArray[np.float32], box: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """(n,) bool of offsets from the centre of one box (7,)."""
    cos, sin = np.cos(box[6]), np.sin(box[6])
    length, width, height = box[3:6] / 2
    inside: NDArray[np.bool_] = np.abs(x * cos + y * sin) <= length
    inside &= np.abs(y * cos - x * sin) <= width
    inside &= np.abs(z) <= height
    return inside


def overlaps_bev(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(M, N) bool: whether boxes a (M, 7) and b (N, 7) share area seen from above; touching is not sharing."""
    shared: NDArray[np.bool_] = (iou_bev(torch.from_numpy(a), torch.from_numpy(b)) > 0).numpy()
    return shared


def rows_near_boxes(points: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.int64]:
    """(K,) rows, ascending, of all points that may lie in a box seen from above, and few others."""
    if not len(points) or not len(boxes):
        return np.empty(0, dtype=np.int64)
    radius = _radius_m(boxes).astype(np.float64)
    low, high = boxes[:, :2] - radius[:, None], boxes[:, :2] + radius[:, None]
    origin, extent = low.min(axis=0), high.max(axis=0) - low.min(axis=0)
    cell = max(_CELL_M, float(extent.max()) / _MAX_CELLS)
    size = [math.floor(e / cell) + 1 for e in extent]
    is_covered = np.zeros(size, dtype=bool)
    first, last = ((edge - origin) // cell for edge in (low, high))
    for (x0, y0), (x1, y1) in zip(first.astype(int), last.astype(int), strict=True):
        is_covered[x0 : x1 + 1, y0 : y1 + 1] = True
    inverse, start = np.float32(1 / cell), origin.astype(np.float32)
    x, y = (points[:, 0] - start[0]) * inverse, (points[:, 1] - start[1]) * inverse
    rows: NDArray[np.int64] = np.flatnonzero((x >= 0) & (x < size[0]) & (y >= 0) & (y < size[1]))
    near: NDArray[np.int64] = rows[is_covered[x[rows].astype(np.int32), y[rows].astype(np.int32)]]
    return near


def _radius_m(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(M,) of circles around the boxes seen from above, with 0.01 m for rounding."""
    return (np.hypot(boxes[:, 3], boxes[:, 4]) / 2 + 0.01).astype(np.float32)
