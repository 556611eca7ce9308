"""Codec `int8`: 256 levels a channel, one byte a number that is not zero."""

from __future__ import annotations

from typing import final

import numpy as np
from torch import Tensor

from shared_models.codec import Codec
from shared_models.codecs import affine, byte_planes, zero_mask

LEVELS = 256


@final
class Int8Codec(Codec):
    """Off by at most half of a 255th of the channel's range (and float32 rounding)."""

    name = "int8"

    def pack(self, values: Tensor) -> bytes:
        levels = affine.choose_levels(values, LEVELS)
        mask, present = zero_mask.split(affine.quantise(values, levels))
        return levels.pack() + mask + present.tobytes()

    def unpack(self, block: memoryview, rows: int, channels: int) -> tuple[Tensor, int]:
        levels, at = affine.read_levels(block, channels, LEVELS)
        places, used = zero_mask.read_places(block[at:], rows * channels)
        at += used
        present, used = byte_planes.unpack(block[at:], len(places), 1, np.uint8, "features")
        return affine.restore(zero_mask.merge(present, places, rows, channels), levels), at + used

    def largest_block_bytes(self, rows: int, channels: int) -> int:
        total = rows * channels
        return affine.parameter_bytes(channels) + zero_mask.mask_bytes(total) + total

    def error_bound(self, values: Tensor) -> Tensor:
        return affine.error_bound(values, LEVELS)
