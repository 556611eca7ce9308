"""Numbers as byte planes: the lowest byte of all of them, then the second byte of all, and so on.

High bytes of neighbouring numbers are alike, so that zstd finds more in planes than in whole numbers.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared_models.errors import PayloadError

Unsigned = TypeVar("Unsigned", np.uint8, np.uint16, np.uint32)


def pack(values: NDArray[Any], width: int) -> bytes:
    """The `width` lowest bytes of each of `values`, (m,) unsigned integers."""
    return b"".join((values >> (8 * i)).astype(np.uint8).tobytes() for i in range(width))


def unpack(
    block: memoryview, count: int, width: int, dtype: type[Unsigned], what: str
) -> tuple[NDArray[Unsigned], int]:
    """(count,) numbers of type `dtype`, and the number of bytes read.

    what: name of the section for messages.

    Raises:
        PayloadError: `block` is too short.
    """
    size = count * width
    if len(block) < size:
        raise PayloadError(f"payload body: {size} bytes of {what} expected, {len(block)} left")
    planes = np.frombuffer(block[:size], np.uint8).reshape(width, count)
    values = planes[0].astype(dtype)
    for i in range(1, width):
        values |= planes[i].astype(dtype) << dtype(8 * i)
    return values, size
