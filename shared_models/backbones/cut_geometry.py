"""Where the cells of each layer of the 3D backbone lie in space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.backbones.second import DOWNSAMPLING, MERGE_SLICES
from shared_models.backbones.voxelizer import VoxelConfig
from shared_models.errors import InvalidValueError, UnknownNameError
from shared_models.records import check
from shared_models.sparse.sites import ConvolutionSpec, Triple

# The convolutions between the voxels and each layer that leave fewer cells.
_LAYERS: Final[dict[str, tuple[ConvolutionSpec, ...]]] = {
    "conv1": (),
    "conv2": DOWNSAMPLING[:1],
    "conv3": DOWNSAMPLING[:2],
    "conv4": DOWNSAMPLING,
    "conv_out": (*DOWNSAMPLING, MERGE_SLICES),
}
LAYERS: Final = tuple(_LAYERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutGeometry:
    """Public knowledge about the uploaded layer: it stands in the open source code and in every checkpoint.

    split_layer: one of `LAYERS`.
    point_range_m: x, y, z minimum, then maximum, metres, LiDAR frame.
    voxel_size_m: x, y, z of the input voxels, metres.
    """

    split_layer: str
    point_range_m: tuple[float, float, float, float, float, float]
    voxel_size_m: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.split_layer not in _LAYERS:
            raise UnknownNameError("split layer", self.split_layer, _LAYERS)
        check.number("CutGeometry", "point_range_m", self.point_range_m, -10_000, 10_000)
        check.number("CutGeometry", "voxel_size_m", self.voxel_size_m, 0.001, 100)
        if any(low >= high for low, high in zip(self.point_range_m[:3], self.point_range_m[3:], strict=True)):
            raise InvalidValueError(f"CutGeometry.point_range_m: expected minima below maxima: {self.point_range_m}")

    @classmethod
    def of(cls, voxels: VoxelConfig, split_layer: str) -> CutGeometry:
        """Geometry of `split_layer` of a backbone over these voxels."""
        return cls(split_layer=split_layer, point_range_m=voxels.point_range_m, voxel_size_m=voxels.voxel_size_m)

    @property
    def stride(self) -> Triple:
        """Voxels from one cell to the next on z, y, x."""
        stride = np.ones(3, np.int64)
        for spec in _LAYERS[self.split_layer]:
            stride *= spec.stride
        z, y, x = stride.tolist()
        return z, y, x

    @property
    def offset(self) -> Triple:
        """The voxel on z, y, x in the middle of what cell (0, 0, 0) sees.

        A convolution of kernel k, stride s and padding p sees in cell o the cells around s o + (k - 1) / 2 - p.
        """
        offset, stride = np.zeros(3, np.int64), np.ones(3, np.int64)
        for spec in _LAYERS[self.split_layer]:
            middle = (np.array(spec.kernel) - 1) // 2 - np.array(spec.padding)
            offset += stride * middle
            stride *= spec.stride
        z, y, x = offset.tolist()
        return z, y, x

    @property
    def cell_size_m(self) -> tuple[float, float, float]:
        """x, y, z distance from one cell to the next, metres."""
        z, y, x = self.stride
        size = self.voxel_size_m
        return x * size[0], y * size[1], z * size[2]

    def centres_m(self, coords: NDArray[np.integer | np.floating]) -> NDArray[np.float64]:
        """(V, 3) float64 [x y z], metres, LiDAR frame: middle of what each cell (V, 3) [z y x] sees.

        It is the centre of one input voxel, so on x and y it lies near the lower border of the square of `cell_size_m`
        that detectors call the cell.
        """
        voxels = np.asarray(coords, np.float64) * self.stride + self.offset
        return np.asarray(self.point_range_m[:3]) + (voxels[:, ::-1] + 0.5) * self.voxel_size_m

    def inside(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) which points (N, 3 or more) lie in the range: only those can leave a trace in the features."""
        low, high = np.asarray(self.point_range_m[:3]), np.asarray(self.point_range_m[3:])
        return np.asarray(((points[:, :3] >= low) & (points[:, :3] < high)).all(1))
