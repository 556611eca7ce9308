"""Codec `int4`: 16 levels a channel, two numbers that are not zero in a byte, the first of them in the low half."""

from __future__ import annotations

from typing import final

import numpy as np
from torch import Tensor

from shared_models.codec import Codec
from shared_models.codecs import affine, byte_planes, zero_mask
from shared_models.errors import PayloadError

LEVELS = 16


@final
class Int4Codec(Codec):
    """Off by at most half of a 15th of the channel's range (and float32 rounding)."""

    name = "int4"

    def pack(self, values: Tensor) -> bytes:
        levels = affine.choose_levels(values, LEVELS)
        mask, present = zero_mask.split(affine.quantise(values, levels))
        pairs = present[::2].copy()
        pairs[: present.size // 2] |= present[1::2] << 4
        return levels.pack() + mask + pairs.tobytes()

    def unpack(self, block: memoryview, rows: int, channels: int) -> tuple[Tensor, int]:
        levels, at = affine.read_levels(block, channels, LEVELS)
        places, used = zero_mask.read_places(block[at:], rows * channels)
        at += used
        pairs, used = byte_planes.unpack(block[at:], (len(places) + 1) // 2, 1, np.uint8, "features")
        if len(places) % 2 and pairs[-1] >> 4:
            raise PayloadError("payload body: bits are set after the last feature")
        present = np.empty(2 * pairs.size, np.uint8)
        present[::2] = pairs & 15
        present[1::2] = pairs >> 4
        table = zero_mask.merge(present[: len(places)], places, rows, channels)
        return affine.restore(table, levels), at + used

    def largest_block_bytes(self, rows: int, channels: int) -> int:
        total = rows * channels
        return affine.parameter_bytes(channels) + zero_mask.mask_bytes(total) + (total + 1) // 2

    def error_bound(self, values: Tensor) -> Tensor:
        return affine.error_bound(values, LEVELS)
