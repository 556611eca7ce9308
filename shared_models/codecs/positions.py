"""Keypoint positions, kept as they are (float32) by every codec.

They are 24 KB of a set payload's megabyte, and the set layers of the detector compare distances with radii,
so a rounded position would change which neighbours are seen. A guard is the place to blur them, not a codec.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shared_models.codecs import byte_planes
from shared_models.errors import InvalidValueError, PayloadError


def block_bytes(count: int) -> int:
    """Bytes of `count` positions."""
    return count * 12


def pack(values: Tensor) -> bytes:
    """(K, 3) float32 as byte planes.

    Raises:
        InvalidValueError: a position is NaN or infinite.
    """
    if not bool(torch.isfinite(values).all()):
        raise InvalidValueError("SetFeatures.positions: expected finite metres, got NaN or infinity")
    return byte_planes.pack(values.numpy().reshape(-1).view(np.uint32), 4)


def unpack(block: memoryview, count: int) -> tuple[Tensor, int]:
    """(count, 3) float32 metres, and the number of bytes read.

    Raises:
        PayloadError: too short, or a position is NaN or infinite.
    """
    patterns, size = byte_planes.unpack(block, 3 * count, 4, np.uint32, "keypoint positions")
    values = patterns.view(np.float32).reshape(count, 3)
    if not np.isfinite(values).all():
        raise PayloadError("payload body: a keypoint position is NaN or infinite")
    return torch.from_numpy(values), size
