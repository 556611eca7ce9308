"""Codec `float16`: half precision, each channel scaled by a power of two so that any finite float32 fits."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared_models.codec import Codec
from shared_models.codecs import byte_planes, zero_mask
from shared_models.codecs import channels as columns
from shared_models.errors import PayloadError

_TOP = 15  # a channel's largest magnitude is scaled to 2^14 .. 2^15, below float16's 65504
_LOWEST, _HIGHEST = -112, 113  # exponents whose powers of two, and their inverses, are normal float32 numbers
_EXPONENT = np.uint16(0x7C00)


@final
class Float16Codec(Codec):
    """Eleven significant bits: off by at most 2^-11 of the channel's largest magnitude."""

    name = "float16"

    def pack(self, values: Tensor) -> bytes:
        low, high = columns.finite_range(values)
        exponents = _exponents(np.maximum(np.abs(low), np.abs(high)))
        scale = torch.from_numpy(np.ldexp(np.float32(1), -exponents).astype(np.float32))
        halves = columns.to_planes(values, torch.float16, lambda chunk: chunk.mul_(scale))
        mask, patterns = zero_mask.split(halves.view(np.uint16))
        return exponents.astype("<i2").tobytes() + mask + byte_planes.pack(patterns, 2)

    def unpack(self, block: memoryview, rows: int, channels: int) -> tuple[Tensor, int]:
        size = 2 * channels
        if len(block) < size:
            raise PayloadError(f"payload body: {size} bytes of channel exponents expected, {len(block)} left")
        exponents = np.frombuffer(block[:size], "<i2").astype(np.int64)
        if channels and not _LOWEST <= exponents.min() <= exponents.max() <= _HIGHEST:
            raise PayloadError(f"payload body: a channel exponent lies outside {_LOWEST} to {_HIGHEST}")
        places, used = zero_mask.read_places(block[size:], rows * channels)
        size += used
        patterns, used = byte_planes.unpack(block[size:], len(places), 2, np.uint16, "features")
        if ((patterns & _EXPONENT) == _EXPONENT).any():
            raise PayloadError("payload body: a feature is NaN or infinite")
        scale = torch.from_numpy(np.ldexp(np.float32(1), exponents).astype(np.float32))
        table = zero_mask.merge(patterns, places, rows, channels).view(np.float16)
        values = columns.from_planes(table, lambda chunk: chunk.mul_(scale))
        if channels and exponents.max() == _HIGHEST:  # rounding may have passed float32's end
            values.clamp_(-columns.LARGEST, columns.LARGEST)
        return values, size + used

    def largest_block_bytes(self, rows: int, channels: int) -> int:
        return 2 * channels + zero_mask.mask_bytes(rows * channels) + 2 * rows * channels

    def error_bound(self, values: Tensor) -> Tensor:
        low, high = columns.finite_range(values)
        largest = np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
        return torch.from_numpy(largest * 2.0**-11 + 2.0**-137)


def _exponents(largest: NDArray[np.float32]) -> NDArray[np.int64]:
    """Power of two of each channel: its largest magnitude divided by it lies in 2^14 .. 2^15; 0 for all zeros."""
    exponents = np.clip(np.frexp(largest)[1].astype(np.int64) - _TOP, _LOWEST, _HIGHEST)
    return np.where(largest > 0, exponents, 0)
