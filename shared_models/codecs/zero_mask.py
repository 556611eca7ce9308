"""A table of bit patterns many of which are zero: one bit each says which are not, and only those are kept.

About half of the numbers behind a ReLU are exact zeros, more after quantisation. Measured on KITTI features this is
smaller than zstd over the whole table by 2 to 20 %, and faster, since zstd gets half as much to read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared_models.errors import PayloadError


def mask_bytes(total: int) -> int:
    """Bytes of the mask of that many patterns."""
    return (total + 7) // 8


def split(patterns: NDArray[Any]) -> tuple[bytes, NDArray[Any]]:
    """The mask of `patterns` (C, N), and those that are not zero in their order."""
    flat = patterns.reshape(-1)
    used = flat != 0
    # flatnonzero and take are twice as fast as indexing with the mask
    return np.packbits(used, bitorder="little").tobytes(), flat.take(np.flatnonzero(used))


def read_places(block: memoryview, total: int) -> tuple[NDArray[np.intp], int]:
    """Where the patterns that are not zero belong among `total`, and the number of bytes read.

    Raises:
        PayloadError: too short, or bits after the end are set.
    """
    size = mask_bytes(total)
    if len(block) < size:
        raise PayloadError(f"payload body: {size} bytes of feature mask expected, {len(block)} left")
    bits = np.unpackbits(np.frombuffer(block[:size], np.uint8), bitorder="little")
    if bits[total:].any():
        raise PayloadError("payload body: bits are set after the end of the feature mask")
    return np.flatnonzero(bits.view(np.bool_)), size  # ten times faster on booleans than on bytes


def merge(values: NDArray[Any], places: NDArray[np.intp], rows: int, channels: int) -> NDArray[Any]:
    """(channels, rows) patterns: `values` at their `places`, zero elsewhere.

    Raises:
        PayloadError: one of `values` is zero.
    """
    if not values.all():
        raise PayloadError("payload body: a number marked as present is zero")
    patterns = np.zeros(rows * channels, values.dtype)
    patterns[places] = values
    return patterns.reshape(channels, rows)
