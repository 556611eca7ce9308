"""Sorted cells as steps: row-major cell numbers, each written as its distance to the cell before it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from shared_models.codecs import byte_planes
from shared_models.errors import PayloadError

MAX_MAP_CELLS = 2**31  # so that a step fits four bytes and sums of steps stay far from int64's end
WIDTHS = (1, 2, 4)


def pack(keys: Tensor) -> tuple[int, bytes]:
    """Width in bytes and the packed steps of `keys`, (V,) int64, strictly rising from 0.

    A step is the number of empty cells since the active cell before, so neighbours give zeros. The steps are
    byte planes of the narrowest width.
    """
    steps = np.diff(keys.numpy(), prepend=-1) - 1
    largest = int(steps.max(initial=0))
    width = next(w for w in WIDTHS if largest < 256**w)
    return width, byte_planes.pack(steps, width)


def unpack(body: memoryview, count: int, width: int, shape: tuple[int, int, int]) -> tuple[Tensor, int]:
    """(count, 3) int32 [z y x] cells of a map of `shape`, and the number of bytes read.

    Raises:
        PayloadError: too short, a cell outside the map, or wider steps than needed.
    """
    steps, size = byte_planes.unpack(body, count, width, np.uint32, "coordinates")
    narrowest = next(w for w in WIDTHS if int(steps.max(initial=0)) < 256**w)
    if narrowest != width:
        raise PayloadError(f"payload body: coordinate steps of {width} bytes, {narrowest} would do")
    keys = np.cumsum(steps.astype(np.int64) + 1) - 1
    if count and int(keys[-1]) >= math.prod(shape):
        raise PayloadError(f"payload body: cell number {int(keys[-1])} lies outside the map {shape}")
    cells = np.stack(np.unravel_index(keys, shape), axis=1).astype(np.int32)
    return torch.from_numpy(cells.reshape(count, 3)), size
