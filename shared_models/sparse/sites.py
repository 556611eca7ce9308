"""Where a sparse tensor is active, and which convolution to plan over it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.records import check

Triple = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionSpec:
    """Geometry of a sparse 3D convolution; triples are in z, y, x order.

    is_submanifold: outputs lie exactly on the input's sites (stride 1, odd kernel);
        otherwise every cell reached by at least one input becomes active.
    """

    kernel: Triple = (3, 3, 3)
    stride: Triple = (1, 1, 1)
    padding: Triple = (1, 1, 1)
    is_submanifold: bool = False

    def __post_init__(self) -> None:
        if min(self.kernel) < 1 or min(self.stride) < 1 or min(self.padding) < 0:
            raise InvalidValueError(f"ConvolutionSpec: expected kernel and stride >= 1 and padding >= 0, got {self}")
        if self.is_submanifold and (self.stride != (1, 1, 1) or any(k % 2 == 0 for k in self.kernel)):
            raise InvalidValueError(
                f"ConvolutionSpec: a submanifold convolution needs stride 1 and odd kernels: {self}"
            )

    @property
    def volume(self) -> int:
        """Number of kernel offsets."""
        return prod(self.kernel)

    def output_shape(self, shape: Triple) -> Triple:
        """Size of the output map for an input map of `shape`."""
        if self.is_submanifold:
            return shape
        sizes = zip(shape, self.kernel, self.stride, self.padding, strict=True)
        z, y, x = ((size + 2 * p - k) // s + 1 for size, k, s, p in sizes)
        return z, y, x


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """Active cells of a batch of sparse maps; V = 0 and scans without cells are valid.

    coords: (V, 4) int32 [batch z y x], unique, sorted by batch, z, y, x. Sorted order makes every result
        independent of the order in which points arrived, and neighbours in x neighbours in memory.
    shape: (D, H, W) size of each map in cells.
    batch_size: number of maps.
    """

    coords: Tensor
    shape: Triple
    batch_size: int

    def __post_init__(self) -> None:
        check.shape("Sites", "coords", self.coords, (None, 4))
        check.dtype("Sites", "coords", self.coords, torch.int32)

    def __len__(self) -> int:
        return int(self.coords.shape[0])

    def check_contents(self) -> None:
        """Ranges, order and uniqueness: for coordinates that come from outside.

        Raises:
            InvalidValueError: a cell lies outside the maps, or cells are not unique and sorted.
        """
        limits = (self.batch_size, *self.shape)
        if len(self) == 0:
            return
        low, high = self.coords.amin(0).tolist(), self.coords.amax(0).tolist()
        if min(low) < 0 or any(h >= limit for h, limit in zip(high, limits, strict=True)):
            raise InvalidValueError(f"Sites.coords: {low} to {high} lies outside [batch z y x] = {limits}")
        keys = row_major_keys(self.coords, self.shape)
        if not bool((keys[1:] > keys[:-1]).all()):
            raise InvalidValueError("Sites.coords: cells must be unique and sorted by batch, z, y, x")


def row_major_keys(coords: Tensor, shape: Triple, border: Triple = (0, 0, 0)) -> Tensor:
    """(V,) int64: number of each cell in row-major order of maps widened by `border` cells on every side.

    coords: (V, 4) integer [batch z y x].
    """
    batch, z, y, x = coords.long().unbind(1)
    depth, height, width = (size + 2 * b for size, b in zip(shape, border, strict=True))
    return ((batch * depth + z + border[0]) * height + y + border[1]) * width + x + border[2]


def coords_from_keys(keys: Tensor, shape: Triple) -> Tensor:
    """(V, 4) int32 [batch z y x]: the inverse of `row_major_keys` without border."""
    depth, height, width = shape
    # Integer division is slow: divide once per axis, and take remainders by multiplication.
    rows = torch.div(keys, width, rounding_mode="trunc")
    slices = torch.div(rows, height, rounding_mode="trunc")
    batch = torch.div(slices, depth, rounding_mode="trunc")
    return torch.stack((batch, slices - batch * depth, rows - slices * height, keys - rows * width), 1).int()
