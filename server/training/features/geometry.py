"""Where the cells of conv_out lie in space, and which of them lie in a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared_models.backbones.second import DOWNSAMPLING, MERGE_SLICES
from shared_models.backbones.voxelizer import VoxelConfig
from shared_models.records import check
from shared_models.sparse.sites import Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMap:
    """Geometry of conv_out.

    A cell of a strided convolution is centred on an input voxel and not between two: in x and y cell i lies at
    minimum + (8 i + 0.5) voxel, not at minimum + (i + 0.5) 8 voxel.

    shape: (D, H, W) in cells.
    first_m: x, y, z of the centre of cell (0, 0, 0), metres, LiDAR frame.
    step_m: from one cell to the next along x, y, z, metres.
    """

    shape: Triple
    first_m: tuple[float, float, float]
    step_m: tuple[float, float, float]

    def __post_init__(self) -> None:
        check.count("FeatureMap", "shape", self.shape, 4096)
        check.number("FeatureMap", "first_m", self.first_m, -1e5, 1e5)
        check.number("FeatureMap", "step_m", self.step_m, 1e-3, 1e4)

    @classmethod
    def of(cls, voxels: VoxelConfig) -> FeatureMap:
        """Geometry of conv_out over these voxels, from the strides and paddings of the backbone."""
        shape, strides, first = voxels.sparse_shape, np.ones(3), np.zeros(3)
        for spec in (*DOWNSAMPLING, MERGE_SLICES):
            # Output i reads inputs from stride * i - padding on; its centre lies half a kernel further.
            first += strides * ((np.array(spec.kernel) - 1) / 2 - np.array(spec.padding))
            strides *= spec.stride
            shape = spec.output_shape(shape)
        size, low = np.array(voxels.voxel_size_m), np.array(voxels.point_range_m[:3])
        x, y, z = (float(v) for v in low + (first[::-1] + 0.5) * size)
        step_x, step_y, step_z = (float(v) for v in strides[::-1] * size)
        return cls(shape=shape, first_m=(x, y, z), step_m=(step_x, step_y, step_z))

    @property
    def cells_bev(self) -> int:
        """Cells of one slice."""
        return self.shape[1] * self.shape[2]

    def centres(self, coords: Tensor) -> Tensor:
        """(V, 3) float64 [x y z], metres: centres of cells (V, 3) [z y x]."""
        first, step = (torch.tensor(v, dtype=torch.float64, device=coords.device) for v in (self.first_m, self.step_m))
        return first + coords.flip(1).double() * step

    def numbers_bev(self, coords: Tensor) -> Tensor:
        """(V,) int64: row-major numbers, seen from above, of cells (V, 3) [z y x]."""
        return coords[:, 1].long() * self.shape[2] + coords[:, 2].long()

    def footprints(
        self, boxes: NDArray[np.float32], margin_m: float = 0.0, *, includes_nearest: bool = False
    ) -> Footprints:
        """Cells whose centre lies, seen from above, in boxes (M, 7) made `margin_m` larger on each side.

        includes_nearest: a box that holds no centre gets the cell nearest to its own, if the map has one there.
        """
        exact = boxes.astype(np.float64)
        half = exact[:, 3:5] / 2 + margin_m
        cos, sin = np.cos(exact[:, 6]), np.sin(exact[:, 6])
        owners, cells = self._around(exact, half, cos, sin)
        offset = np.array(self.first_m[:2]) + cells * self.step_m[:2] - exact[owners, :2]
        along = abs(offset[:, 0] * cos[owners] + offset[:, 1] * sin[owners])
        across = abs(offset[:, 1] * cos[owners] - offset[:, 0] * sin[owners])
        inside = (along <= half[owners, 0]) & (across <= half[owners, 1])
        found = Footprints(owners=owners[inside], cells=cells[inside] @ (1, self.shape[2]))
        return self._with_nearest(found, exact) if includes_nearest else found

    def _around(
        self, boxes: NDArray[np.float64], half: NDArray[np.float64], cos: NDArray[np.float64], sin: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Cells of the upright rectangles around turned boxes: (P,) number of the box, ascending, and (P, 2) [x y]."""
        length, width = half.T
        reach = np.stack((length * abs(cos) + width * abs(sin), length * abs(sin) + width * abs(cos)), axis=1)
        limit = np.array((self.shape[2], self.shape[1]))
        low = np.clip(np.ceil((boxes[:, :2] - reach - self.first_m[:2]) / self.step_m[:2]), 0, limit).astype(np.int64)
        high = np.floor((boxes[:, :2] + reach - self.first_m[:2]) / self.step_m[:2]).astype(np.int64) + 1
        sides = np.clip(high, low, limit) - low
        counts = sides.prod(axis=1)
        owners = np.repeat(np.arange(len(boxes)), counts)
        places = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        row, column = np.divmod(places, sides[owners, 0])
        return owners, low[owners] + np.stack((column, row), axis=1)

    def _with_nearest(self, found: Footprints, boxes: NDArray[np.float64]) -> Footprints:
        empty = np.setdiff1d(np.arange(len(boxes)), found.owners)
        nearest = np.rint((boxes[empty, :2] - self.first_m[:2]) / self.step_m[:2]).astype(np.int64)
        is_in_map = ((nearest >= 0) & (nearest < (self.shape[2], self.shape[1]))).all(axis=1)
        more = Footprints(owners=empty[is_in_map], cells=nearest[is_in_map] @ (1, self.shape[2]))
        both = found.joined(more)
        return both.chosen(np.argsort(both.owners, kind="stable"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprints:
    """Cells that boxes cover, seen from above.

    owners: (P,) int64, the number of the box, ascending. cells: (P,) int64, row-major numbers y * W + x; a cell may be
    in several boxes.
    """

    owners: NDArray[np.int64]
    cells: NDArray[np.int64]

    def joined(self, other: Footprints) -> Footprints:
        """These cells, then those of `other`."""
        return Footprints(
            owners=np.concatenate((self.owners, other.owners)), cells=np.concatenate((self.cells, other.cells))
        )

    def owned_once(self) -> Footprints:
        """Each cell once, with the owner that comes first, sorted by cell."""
        cells, first = np.unique(self.cells, return_index=True)
        return Footprints(owners=self.owners[first], cells=cells)

    def chosen(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Footprints:
        """Those that a mask or row numbers choose."""
        return Footprints(owners=self.owners[rows], cells=self.cells[rows])
