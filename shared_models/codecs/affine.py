"""Quantisation of each channel to L evenly spaced levels; zero is a level wherever the channel's range holds it.

value = offset + (level - zero) * step, in float32, rounded after each operation. A channel whose range holds
zero (all channels behind a ReLU) has offset 0, so that exact zeros stay exact and all levels serve the sign
that occurs; any other channel has zero = 0 and offset = its least value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared_models.codecs import channels as columns
from shared_models.errors import PayloadError

_PARAMETERS = np.dtype([("offset", "<f4"), ("step", "<f4"), ("zero", "u1")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """How each of C channels is quantised to `count` levels; arrays (C,), `zero` counted in levels."""

    offset: NDArray[np.float32]
    step: NDArray[np.float32]
    zero: NDArray[np.uint8]
    count: int

    def pack(self) -> bytes:
        """Nine bytes a channel: offset, step, zero."""
        table = np.empty(len(self.step), _PARAMETERS)
        table["offset"], table["step"], table["zero"] = self.offset, self.step, self.zero
        return table.tobytes()


def parameter_bytes(channels: int) -> int:
    """Bytes of the packed `Levels` of that many channels."""
    return channels * _PARAMETERS.itemsize


def choose_levels(values: Tensor, count: int) -> Levels:
    """Levels that span each channel of `values`, (N, C) float32.

    Raises:
        InvalidValueError: a number is NaN or infinite.
    """
    low, high = columns.finite_range(values)
    exact = (high.astype(np.float64) - low) / (count - 1)
    step = exact.astype(np.float32)
    # Rounded up, never down: the last level must reach the largest value, also among denormal numbers.
    step = np.where(step < exact, np.nextafter(step, np.float32(np.inf)), step)
    has_zero = (low <= 0) & (high >= 0)
    divisor = np.where(step > 0, step, 1).astype(np.float64)
    zero = np.where(has_zero, np.rint(-low.astype(np.float64) / divisor), 0)
    offset = np.where(has_zero, np.float32(0), low)
    return Levels(offset=offset, step=step, zero=zero.astype(np.uint8), count=count)


def error_bound(values: Tensor, count: int) -> Tensor:
    """(C,) float64: half a step, plus float32 rounding of the channel's largest magnitude."""
    low, high = columns.finite_range(values)
    levels = choose_levels(values, count)
    largest = np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
    return torch.from_numpy(levels.step * 0.5 + largest * 2.0**-21 + 2.0**-149)


def quantise(values: Tensor, levels: Levels) -> NDArray[np.uint8]:
    """(C, N) levels of `values` (N, C): the nearest, halves to the even one, counted from zero's level modulo L."""
    offset, zero = torch.from_numpy(levels.offset), torch.from_numpy(levels.zero.astype(np.float32))
    # Division, not multiplication by 1 / step: that inverse overflows for very small steps.
    step = torch.from_numpy(np.where(levels.step > 0, levels.step, np.float32(1)))
    has_offset, has_zero = bool(levels.offset.any()), bool(levels.zero.any())

    def to_levels(chunk: Tensor) -> None:
        if has_offset:
            chunk.sub_(offset)
        numbers = chunk.div_(step).numpy()
        np.rint(numbers, out=numbers)  # torch's round wakes a second thread even for this little
        if has_zero:
            chunk.add_(zero)
        chunk.clamp_(0, levels.count - 1)

    planes = columns.to_planes(values, torch.uint8, to_levels)
    return _shifted(planes, 0 - levels.zero, levels.count) if has_zero else planes


def restore(planes: NDArray[np.uint8], levels: Levels) -> Tensor:
    """(N, C) float32 of what `quantise` gives; where float32 ends, its largest number stands for more."""
    offset, zero = torch.from_numpy(levels.offset), torch.from_numpy(levels.zero.astype(np.float32))
    step = torch.from_numpy(levels.step)
    has_offset, has_zero = bool(levels.offset.any()), bool(levels.zero.any())
    reach = np.abs(levels.offset.astype(np.float64)) + levels.step.astype(np.float64) * levels.count
    may_overflow = bool((reach > columns.LARGEST / 2).any())

    def to_values(chunk: Tensor) -> None:
        if has_zero:
            chunk.sub_(zero)
        chunk.mul_(step)
        if has_offset:
            chunk.add_(offset)
        if may_overflow:
            chunk.clamp_(-columns.LARGEST, columns.LARGEST)

    return columns.from_planes(_shifted(planes, levels.zero, levels.count) if has_zero else planes, to_values)


def _shifted(planes: NDArray[np.uint8], by: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """`planes` (C, N) plus `by` (C,), modulo `count`, a power of two."""
    return (planes + by[:, None]) & np.uint8(count - 1)


def read_levels(block: memoryview, channels: int, count: int) -> tuple[Levels, int]:
    """The `Levels` at the start of `block`, and the number of bytes read.

    Raises:
        PayloadError: too short, or parameters that `Levels.pack` never writes.
    """
    size = parameter_bytes(channels)
    if len(block) < size:
        raise PayloadError(f"payload body: {size} bytes of channel parameters expected, {len(block)} left")
    table: Any = np.frombuffer(block[:size], _PARAMETERS)
    offset, step = table["offset"].astype(np.float32), table["step"].astype(np.float32)
    zero = table["zero"].copy()
    sound = np.isfinite(offset) & np.isfinite(step) & (step >= 0) & (zero < count) & ((offset == 0) | (zero == 0))
    if not sound.all():
        raise PayloadError(f"payload body: parameters of channel {int(np.flatnonzero(~sound)[0])} make no sense")
    return Levels(offset=offset, step=step, zero=zero, count=count), size
