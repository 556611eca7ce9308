"""Going through a (N, C) table in blocks of rows that stay in the processor's cache, to and from channel planes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared_models.errors import InvalidValueError

LARGEST = float(np.finfo(np.float32).max)
# Stays in the cache, and below the 2^15 numbers from which torch wakes further threads: for work this small that
# costs more than it gains, and on a busy machine far more (measured: 3 ms become 30).
_CHUNK_NUMBERS = 2**15 - 1


def finite_range(values: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Least and largest number of each channel of `values` (N, C); zeros where N = 0.

    Raises:
        InvalidValueError: a number is NaN or infinite.
    """
    if values.shape[0] == 0:
        zeros = np.zeros(values.shape[1], np.float32)
        return zeros, zeros
    least, most = values[0].clone(), values[0].clone()
    step = _rows_at_once(values.shape[1])
    for start in range(0, values.shape[0], step):
        chunk = values[start : start + step]
        torch.minimum(least, chunk.amin(0), out=least)
        torch.maximum(most, chunk.amax(0), out=most)
    low, high = least.numpy() + np.float32(0), most.numpy() + np.float32(0)  # plus zero turns -0.0 into 0.0
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        channel = int(np.flatnonzero(~(np.isfinite(low) & np.isfinite(high)))[0])
        raise InvalidValueError(f"features: expected finite numbers, got NaN or infinity in channel {channel}")
    return low, high


def to_planes(values: Tensor, dtype: torch.dtype, change: Callable[[Tensor], Any]) -> NDArray[Any]:
    """(C, N) array of type `dtype`: rows of `values` (N, C), each block changed in place as float32 first."""
    rows, channels = values.shape
    planes = torch.empty(channels, rows, dtype=dtype)
    step = _rows_at_once(channels)
    buffer = torch.empty(min(step, rows), channels)
    for start in range(0, rows, step):
        chunk = buffer[: min(step, rows - start)].copy_(values[start : start + step])
        change(chunk)
        planes[:, start : start + step] = chunk.to(dtype).t()
    return planes.numpy()


def from_planes(planes: NDArray[Any], change: Callable[[Tensor], Any]) -> Tensor:
    """(N, C) float32 of `planes` (C, N), each block of rows changed in place."""
    channels, rows = planes.shape
    source = torch.from_numpy(planes)
    values = torch.empty(rows, channels)
    step = _rows_at_once(channels)
    for start in range(0, rows, step):
        chunk = values[start : start + step]
        chunk.copy_(source[:, start : start + step].t())
        change(chunk)
    return values


def _rows_at_once(channels: int) -> int:
    return max(1, _CHUNK_NUMBERS // max(1, channels))
