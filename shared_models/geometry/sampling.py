"""Farthest point sampling: keypoints that cover a scan evenly.

OpenPCDet's rule: start at index 0; then always the point farthest from all chosen ones, by float32 squared distances
`(dx² + dy²) + dz²`, the lowest index where several are equally far. Both versions below choose exactly the same points.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import inf, sqrt

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shared_models.errors import InvalidValueError

_BLOCK = 256  # points per block of the sorted scan


def farthest_point_sampling(points: Tensor, count: int) -> Tensor:
    """Indices of `count` points, each as far as possible from those before it.

    points: (N, >=3) `[x y z ...]`, metres. Gives (count,) int64, on the points' device. Where N < count, the order of
    all N points is repeated from its start until there are `count`; where N = 0 the result is empty.

    Raises:
        InvalidValueError: a wrong shape, a negative count, or a coordinate that is not finite.
    """
    if points.dim() != 2 or points.shape[1] < 3 or count < 0:
        raise InvalidValueError(
            f"farthest_point_sampling: expected points (N, >=3) and count >= 0, got {tuple(points.shape)} and {count}"
        )
    xyz = points.detach()[:, :3].t().contiguous().float()
    if not bool(torch.isfinite(xyz).all()):
        raise InvalidValueError("farthest_point_sampling: a coordinate is not finite; remove such points first")
    distinct = min(count, len(points))
    if distinct == 0:
        return torch.empty(0, dtype=torch.int64, device=points.device)
    chosen = torch.from_numpy(_sample_sorted(xyz.numpy(), distinct)) if xyz.is_cpu else _sample(xyz, distinct)
    return chosen.repeat(-(-count // distinct))[:count]


def _sample(xyz: Tensor, count: int) -> Tensor:
    """The plain loop, without waiting for the device. xyz: (3, N) float32."""
    chosen = torch.zeros(count, dtype=torch.int64, device=xyz.device)
    distance = torch.full_like(xyz[0], inf)
    for step in range(1, count):
        square = (xyz - xyz.index_select(1, chosen[step - 1 : step])).square_()
        torch.minimum(distance, square[0].add_(square[1]).add_(square[2]), out=distance)
        chosen[step] = distance.argmax()
    return chosen


def _sample_sorted(xyz: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """The same choice for a CPU, where small NumPy steps cost least. xyz: (3, N) float32.

    No point is farther from the chosen ones than the one chosen last was. So a new point can only come nearer to points
    within that distance: with points sorted along the longest axis, those are one slice: on average 6 % of a KITTI one.
    """
    axis = int(np.argmax(xyz.max(1) - xyz.min(1)))
    index = _sorted_blocks(xyz[axis])
    size = index.size
    line, buffer = xyz[:, index.ravel()], np.empty((3, size), np.float32)
    low, high = (bound(line[axis].reshape(index.shape), axis=1).tolist() for bound in (np.min, np.max))
    distance = np.full(size, inf, np.float32)
    distance[xyz.shape[1] :] = -1.0  # the copies that fill the last block are never the farthest
    table, block_farthest = distance.reshape(index.shape), np.full(len(index), inf, np.float32)
    chosen = np.zeros(count, np.int64)
    last, reach = 0, inf
    for step in range(1, count):
        centre = float(xyz[axis, last])
        first, end = bisect_left(high, centre - reach), bisect_right(low, centre + reach)
        part = slice(first * _BLOCK, end * _BLOCK)
        square = np.subtract(line[:, part], xyz[:, last : last + 1], out=buffer[:, part])
        np.multiply(square, square, out=square)
        np.add(np.add(square[0], square[1], out=square[0]), square[2], out=square[0])
        np.minimum(distance[part], square[0], out=distance[part])
        np.maximum.reduce(table[first:end], axis=1, out=block_farthest[first:end])
        last, farthest = _lowest_farthest(table, block_farthest, index)
        if farthest == 0:
            break  # every point is chosen or a copy of one: index 0 from here on
        chosen[step], reach = last, sqrt(farthest) * (1 + 1e-6)  # a little more, for float32's rounding
    return chosen


def _sorted_blocks(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """(blocks, _BLOCK) indices in the order of `values`, within a block by index; copies of the last fill the rest."""
    order = np.argsort(values, kind="stable")
    whole = len(order) // _BLOCK * _BLOCK
    order[:whole].reshape(-1, _BLOCK).sort(axis=1)
    order[whole:].sort()
    return np.pad(order, (0, -len(order) % _BLOCK), mode="edge").reshape(-1, _BLOCK)


def _lowest_farthest(
    table: npt.NDArray[np.float32], block_farthest: npt.NDArray[np.float32], index: npt.NDArray[np.int64]
) -> tuple[int, float]:
    """The lowest point index with the largest distance, and that squared distance."""
    block = int(block_farthest.argmax())
    farthest = block_farthest[block]
    if np.count_nonzero(block_farthest == farthest) == 1:
        return int(index[block, table[block].argmax()]), float(farthest)
    tied = np.flatnonzero(block_farthest == farthest)
    return int(index[tied, table[tied].argmax(axis=1)].min()), float(farthest)
