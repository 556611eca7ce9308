"""Windows of sparse maps as dense blocks, so that no whole dense map is ever held."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from server.audit.networks.paper_decoder import Window


def dense_block(coords: Tensor, features: Tensor, depth: int, window: Window) -> Tensor:
    """(1, C, depth, height, width) of a sparse map: cells (V, 3) [z y x] with features (V, C), else zero."""
    rows = rows_inside(coords, window)
    height, width = window.size
    z, y, x = coords[rows].long().unbind(1)
    block = features.new_zeros((depth * height * width, features.shape[1]))
    block = block.index_copy(0, (z * height + y - window.low_y) * width + x - window.low_x, features[rows])
    return block.view(1, depth, height, width, -1).permute(0, 4, 1, 2, 3).contiguous()


def rows_inside(coords: Tensor, window: Window) -> Tensor:
    """(K,) int64: which cells (V, 3) [z y x] lie in the window."""
    y, x = coords[:, 1], coords[:, 2]
    inside = (y >= window.low_y) & (y < window.high_y) & (x >= window.low_x) & (x < window.high_x)
    return inside.nonzero().squeeze(1)


def window_around(y: int, x: int, side: int, map_size: tuple[int, int]) -> Window:
    """`side` x `side` cells around (y, x), shifted to lie inside a map of (H, W) cells; smaller where the map is."""
    lows, sizes = [], []
    for centre, most in zip((y, x), map_size, strict=True):
        size = min(side, most)
        lows.append(min(max(0, centre - size // 2), most - size))
        sizes.append(size)
    return Window(low_y=lows[0], high_y=lows[0] + sizes[0], low_x=lows[1], high_x=lows[1] + sizes[1])


def tiles(map_size: tuple[int, int], side: int) -> Iterator[Window]:
    """Windows of at most `side` x `side` cells that cover a map of (H, W) cells once."""
    for y in range(0, map_size[0], side):
        for x in range(0, map_size[1], side):
            yield Window(low_y=y, high_y=min(y + side, map_size[0]), low_x=x, high_x=min(x + side, map_size[1]))


def voxel_centres_m(
    coords: Tensor, point_range_m: tuple[float, ...], voxel_size_m: tuple[float, float, float]
) -> Tensor:
    """(V, 3) float32 [x y z] centres of voxels (V, 3) [z y x], metres, LiDAR frame."""
    low, size = (torch.tensor(numbers, device=coords.device) for numbers in (point_range_m[:3], voxel_size_m))
    return low + (coords.flip(1).float() + 0.5) * size
