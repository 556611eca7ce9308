"""Codec `float32`: every bit as it was, including negative zeros and denormal numbers."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared_models.codec import Codec
from shared_models.codecs import byte_planes, zero_mask
from shared_models.errors import InvalidValueError, PayloadError

_EXPONENT = np.uint32(0x7F800000)


@final
class Float32Codec(Codec):
    """Lossless."""

    name = "float32"

    def pack(self, values: Tensor) -> bytes:
        mask, patterns = zero_mask.split(np.ascontiguousarray(values.numpy().T).view(np.uint32))
        if _has_non_finite(patterns):
            raise InvalidValueError("features: expected finite numbers, got NaN or infinity; check the scan")
        return mask + byte_planes.pack(patterns, 4)

    def unpack(self, block: memoryview, rows: int, channels: int) -> tuple[Tensor, int]:
        places, at = zero_mask.read_places(block, rows * channels)
        patterns, used = byte_planes.unpack(block[at:], len(places), 4, np.uint32, "features")
        if _has_non_finite(patterns):
            raise PayloadError("payload body: a feature is NaN or infinite")
        table = zero_mask.merge(patterns, places, rows, channels)
        return torch.from_numpy(np.ascontiguousarray(table.T).view(np.float32)), at + used

    def largest_block_bytes(self, rows: int, channels: int) -> int:
        return zero_mask.mask_bytes(rows * channels) + 4 * rows * channels

    def error_bound(self, values: Tensor) -> Tensor:
        return torch.zeros(values.shape[1], dtype=torch.float64)


def _has_non_finite(patterns: NDArray[np.uint32]) -> bool:
    return bool(((patterns & _EXPONENT) == _EXPONENT).any())
