"""Ball query: the first few points within a radius of each centre.

OpenPCDet's rule: points are scanned in index order and the first `max_neighbours` with a float32 squared distance
`(dx² + dy²) + dz²` below the float32 square of the radius are taken; where there are fewer, the first fills the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from shared_models.errors import InvalidValueError

# Distances computed at once; with all buffers a step takes some 40 bytes for each.
_PAIRS_AT_ONCE = 1 << 19

# The searched surroundings are this much wider than the radius, for the rounding of distances and keys.
_SLACK = 1e-4

# Strip keys are float64 metres. Up to this many radii, their rounding stays a hundred times below the slack.
_LARGEST_KEY = 1e9

# The centres of a step (first, before last) and its hits: the centre's number from `first` on, the point's index.
_Hits = tuple[int, int, Tensor, Tensor]


def ball_query(centres: Tensor, points: Tensor, radius_m: float, max_neighbours: int) -> tuple[Tensor, Tensor]:
    """The first points, by index, that lie within `radius_m` of each centre.

    centres: (K, 3), points: (N, 3) `[x y z]`, metres. Gives indices (K, max_neighbours) int64 into `points`, and
    is_empty (K,) bool: true where no point is near; the indices of such a row are 0 and stand for nothing.
    Only points in the strips around a centre are measured. Memory beyond the result is bounded for any K.

    Raises:
        InvalidValueError: wrong shapes, or a radius or number of neighbours that is not positive.
    """
    _check(centres, points, radius_m, max_neighbours)
    centres, points = (xyz.detach().float().t().contiguous() for xyz in (centres, points))
    indices = torch.zeros((centres.shape[1], max_neighbours), dtype=torch.int64, device=centres.device)
    is_empty = torch.ones(centres.shape[1], dtype=torch.bool, device=centres.device)
    if centres.shape[1] == 0 or points.shape[1] == 0:
        return indices, is_empty
    square = float(np.float32(radius_m) * np.float32(radius_m))
    strips = _Strips.build(points, radius_m * (1 + _SLACK))
    hits = _measure_all(centres, points, square) if strips is None else strips.measure(centres, square)
    for first, last, owner, index in hits:
        if len(owner):
            _fill(indices[first:last], is_empty[first:last], owner, index, points.shape[1])
    return indices, is_empty


@dataclass(frozen=True, slots=True, kw_only=True)
class _Strips:
    """Points sorted by strips along x, each `reach` wide in y, and by x within a strip.

    key: (N,) float64, sorted: strip number times `period`, plus x from `origin`. index: (N,) int32 of the points.
    points: (3, N) float32 in this order.
    """

    key: Tensor
    index: Tensor
    points: Tensor
    origin: tuple[float, float]
    reach: float
    extent: float

    @property
    def period(self) -> float:
        # A centre's search goes up to two reaches beyond the points, and must not meet the next strip.
        return self.extent + 4 * self.reach

    @classmethod
    def build(cls, points: Tensor, reach: float) -> _Strips | None:
        """None where coordinates are not finite or so far apart that keys would not be exact enough."""
        low, high = points.amin(1).tolist(), points.amax(1).tolist()
        width, depth = (high[k] - low[k] for k in (0, 1))
        if not (width / reach + 4) * (depth / reach + 4) < _LARGEST_KEY:
            return None
        x, y = points[0].double() - low[0], points[1].double() - low[1]
        key, order = (torch.floor(y / reach) * (width + 4 * reach) + x).sort()
        return cls(
            key=key,
            index=order.int(),
            points=points.index_select(1, order),
            origin=(low[0], low[1]),
            reach=reach,
            extent=width,
        )

    def measure(self, centres: Tensor, square: float) -> Iterator[_Hits]:
        """Hits with a squared distance below `square`, in no order. centres: (3, K)."""
        start, length = self._runs(centres)
        each = length.sum(1)
        for first, last in _steps(each):
            run, begin = length[first:last].reshape(-1), start[first:last].reshape(-1)
            total = int(run.sum())
            shift = (begin - (run.cumsum(0) - run)).int()
            place = torch.arange(total, dtype=torch.int32, device=run.device)
            place += torch.repeat_interleave(shift, run, output_size=total)
            owner = torch.arange(last - first, dtype=torch.int32, device=run.device)
            owner = torch.repeat_interleave(owner, each[first:last], output_size=total)
            near = centres[:, first:last].contiguous()
            distance = _squared_distance(
                (self.points[k].index_select(0, place), near[k].index_select(0, owner)) for k in range(3)
            )
            hit = (distance < square).nonzero().view(-1)
            yield first, last, owner.index_select(0, hit), self.index.index_select(0, place.index_select(0, hit))

    def _runs(self, centres: Tensor) -> tuple[Tensor, Tensor]:
        """(K, 3) start and length of what a centre can reach of the three strips around it."""
        x, y = (centres[k].double() - self.origin[k] for k in (0, 1))
        strip = torch.floor(y / self.reach)[:, None] + torch.arange(-1, 2, device=centres.device)
        ends = (
            strip * self.period + side.clamp(-self.reach, self.extent + self.reach)[:, None]
            for side in (x - self.reach, x + self.reach)
        )
        start, end = (torch.searchsorted(self.key, key) for key in ends)
        return start, (end - start).clamp_(min=0)


def _steps(each: Tensor) -> Iterator[tuple[int, int]]:
    """Ranges of centres with at most some `_PAIRS_AT_ONCE` candidates. each: (K,) candidates per centre."""
    upto = each.cumsum(0)
    marks = torch.arange(1, int(upto[-1]) // _PAIRS_AT_ONCE + 1, device=each.device) * _PAIRS_AT_ONCE
    cuts = torch.searchsorted(upto, marks).tolist()
    bounds = [0, *cuts, len(each)]
    return ((a, b) for a, b in pairwise(bounds) if a < b)


def _measure_all(centres: Tensor, points: Tensor, square: float) -> Iterator[_Hits]:
    """Every distance: the slow way, for coordinates that strips cannot hold. centres: (3, K), points: (3, N)."""
    step = max(1, _PAIRS_AT_ONCE // points.shape[1])
    for first in range(0, centres.shape[1], step):
        near = centres[:, first : first + step, None]
        distance = _squared_distance((points[k], near[k]) for k in range(3))
        owner, index = (distance < square).nonzero(as_tuple=True)
        yield first, first + near.shape[1], owner, index


def _squared_distance(axes: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    x, y, z = ((a - b).square_() for a, b in axes)
    return x.add_(y).add_(z)


def _fill(indices: Tensor, is_empty: Tensor, owner: Tensor, index: Tensor, count: int) -> None:
    """Write each centre's lowest hits into its row. owner, index: (P,) hits; count: number of points."""
    rows, width = indices.shape
    dtype = torch.int32 if (rows + 1) * count < 2**31 else torch.int64
    row = torch.arange(rows + 1, dtype=dtype, device=owner.device)
    key = (owner.to(dtype) * count + index.to(dtype)).sort().values  # by centre, then by index
    start = torch.searchsorted(key, row * count)
    found = start.diff()
    column = torch.arange(width, device=owner.device)
    place = start[:-1, None] + torch.where(column < found[:, None], column, 0)
    chosen = key[place.clamp_(max=len(key) - 1)].long() - row[:-1, None].long() * count
    torch.eq(found, 0, out=is_empty)
    indices.copy_(chosen.masked_fill_(is_empty[:, None], 0))


def _check(centres: Tensor, points: Tensor, radius_m: float, max_neighbours: int) -> None:
    for name, xyz in (("centres", centres), ("points", points)):
        if xyz.dim() != 2 or xyz.shape[1] != 3:
            raise InvalidValueError(f"ball_query.{name}: expected shape (any, 3), got {tuple(xyz.shape)}")
    if not 0 < radius_m < float("inf") or max_neighbours < 1:
        raise InvalidValueError(
            f"ball_query: expected a positive radius and number of neighbours, got {radius_m} m and {max_neighbours}"
        )
