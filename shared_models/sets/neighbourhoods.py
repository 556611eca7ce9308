"""The neighbourhoods of a ball query without its repetitions: each pair of a centre and a point once.

A ball query fills short neighbourhoods with their first point, and OpenPCDet gives a centre without neighbours points
of zeros. Among the keypoints of a driving scan that is four fifths of all rows at 0.8 m.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shared_models.geometry.neighbours import ball_query

# Rows that are worked on at once: at 64 channels 2 MB, which stay in a core's cache from one operation to the next.
ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Centres with the same number of neighbours.

    rows: theirs in `Neighbourhoods`: of each centre the first neighbour, of each the second, and so on.
    size: neighbours of each centre.
    centres: (k,) numbers of the centres.
    repeats: how often the ball query repeats the first neighbour of each.
    is_full: there are as many as are worked on at once.
    """

    rows: slice
    size: int
    centres: Tensor
    repeats: int
    is_full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhoods:
    """Pairs of a centre and a near point, of all scans together, numbered through the scans.

    centres, points: (R,) numbers of the pairs' centres and points.
    tiles: cover all pairs, in order.
    is_empty: (K,) true for centres without neighbours; they have no pair.
    width: neighbours of each centre when repetitions count.
    """

    centres: Tensor
    points: Tensor
    tiles: tuple[Tile, ...]
    is_empty: Tensor
    width: int

    def weights(self) -> Tensor:
        """(R,) float64: how often the ball query has each pair."""
        weights = torch.ones(len(self.points), dtype=torch.float64, device=self.points.device)
        for tile in self.tiles:
            weights[tile.rows][: len(tile.centres)] += tile.repeats
        return weights


def find_neighbourhoods(
    centres: Sequence[Tensor], points: Sequence[Tensor], radius_m: float, width: int
) -> Neighbourhoods:
    """The first `width` points within `radius_m` of each centre, of one or more scans that do not see each other.

    centres: (K, 3), points: (N, 3) of each scan, metres.
    """
    found, empty, before = [], [], 0
    for scan in zip(centres, points, strict=True):
        indices, is_empty = ball_query(*scan, radius_m, width)
        found.append(indices + before)
        empty.append(is_empty)
        before += len(scan[1])
    indices, is_empty = torch.cat(found), torch.cat(empty)
    # What a ball query repeats is the first index, which is the lowest.
    sizes = (1 + (indices[:, 1:] != indices[:, :1]).sum(1)).masked_fill_(is_empty, 0)
    tiles, owners, near = [], [sizes.new_zeros(0)], [sizes.new_zeros(0)]
    first = 0
    for size, chosen in _by_size(sizes, width):
        rows = slice(first, first + size * len(chosen))
        is_full = len(chosen) == _centres_at_once(size)
        tiles.append(Tile(rows=rows, size=size, centres=chosen, repeats=width - size, is_full=is_full))
        owners.append(chosen.repeat(size))
        near.append(indices[chosen, :size].t().flatten())
        first = rows.stop
    return Neighbourhoods(
        centres=torch.cat(owners), points=torch.cat(near), tiles=tuple(tiles), is_empty=is_empty, width=width
    )


def _by_size(sizes: Tensor, width: int) -> Iterator[tuple[int, Tensor]]:
    """Sizes of neighbourhoods, from 1, and the centres that have them, few enough to be worked on at once."""
    alike = torch.argsort(sizes, stable=True).split_with_sizes(torch.bincount(sizes, minlength=width + 1).tolist())
    for size, chosen in enumerate(alike):
        if size and len(chosen):
            yield from ((size, part) for part in torch.split(chosen, _centres_at_once(size)))


def _centres_at_once(size: int) -> int:
    return max(1, ROWS_AT_ONCE // size)
