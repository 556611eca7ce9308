"""Points to voxels with mean features (mean VFE)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.records import check
from shared_models.sparse.sites import Sites, Triple, coords_from_keys
from shared_models.sparse.tensor import SparseFeatures

# Cells on x, y and z; the Waymo setting has 1504, 1504 and 40.
MAX_CELLS = (4096, 4096, 256)
_CELL_TOLERANCE = 1e-3  # of a voxel, for sizes such as 0.1 that floats only approach


@dataclass(frozen=True, slots=True, kw_only=True)
class VoxelConfig:
    """How space is cut into voxels (the defaults are those of OpenPCDet for KITTI).

    point_range_m: x, y, z minimum, then x, y, z maximum, metres, LiDAR frame.
    voxel_size_m: x, y, z, metres.
    max_points_per_voxel: further points of a voxel are dropped, in the points' order.
    max_voxels: further voxels of a scan are dropped, in the order of their first points.
    max_voxels_training: the same limit while training on raw points.
    point_fields: the point columns that become voxel features.
    """

    point_range_m: tuple[float, float, float, float, float, float] = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
    voxel_size_m: tuple[float, float, float] = (0.05, 0.05, 0.1)
    max_points_per_voxel: int = 5
    max_voxels: int = 40_000
    max_voxels_training: int = 16_000
    point_fields: tuple[str, ...] = ("x", "y", "z", "intensity")

    def __post_init__(self) -> None:
        check.number("VoxelConfig", "point_range_m", self.point_range_m, -10_000, 10_000)
        check.number("VoxelConfig", "voxel_size_m", self.voxel_size_m, 0.001, 100)
        sides = zip(self.point_range_m[:3], self.point_range_m[3:], self.voxel_size_m, MAX_CELLS, strict=True)
        for axis, (low, high, size, most) in zip("xyz", sides, strict=True):
            cells = (high - low) / size
            if not 0.5 < cells < most + 0.5 or abs(cells - round(cells)) > _CELL_TOLERANCE:
                raise InvalidValueError(
                    f"VoxelConfig.point_range_m: expected a whole number of voxels on {axis}, 1 to {most}, "
                    f"got {cells:g} ({low:g} to {high:g} m at {size:g} m)"
                )
        check.count("VoxelConfig", "max_points_per_voxel", self.max_points_per_voxel, 1024)
        check.count("VoxelConfig", "max_voxels", self.max_voxels, 10_000_000)
        check.count("VoxelConfig", "max_voxels_training", self.max_voxels_training, 10_000_000)
        check.distinct_names("VoxelConfig", "point_fields", self.point_fields, 32)
        if self.point_fields[:3] != ("x", "y", "z"):
            raise InvalidValueError(f"VoxelConfig.point_fields: expected x, y, z first, got {self.point_fields}")

    @property
    def grid_shape(self) -> Triple:
        """(D, H, W) in voxels."""
        low, high = self.point_range_m[:3], self.point_range_m[3:]
        x, y, z = (round((h - m) / s) for m, h, s in zip(low, high, self.voxel_size_m, strict=True))
        return z, y, x

    @property
    def sparse_shape(self) -> Triple:
        """(D + 1, H, W): the sparse map that the backbone sees has one more slice, as in SECOND."""
        depth, height, width = self.grid_shape
        return depth + 1, height, width


@dataclass(frozen=True, slots=True, kw_only=True)
class Voxels:
    """Occupied voxels of a batch of scans.

    cells: V voxels with mean features.
    first_points: (V,) int64, which point of its (cropped) scan each voxel met first.
    """

    cells: SparseFeatures
    first_points: Tensor


def crop_to_range(points: Tensor, config: VoxelConfig) -> Tensor:
    """Points with x and y inside the range, borders included; z is not cropped (as OpenPCDet masks points)."""
    low_x, low_y, _, high_x, high_y, _ = config.point_range_m
    x, y = points[:, 0], points[:, 1]
    return points[(x >= low_x) & (x <= high_x) & (y >= low_y) & (y <= high_y)]


def voxelize(scans: Sequence[Tensor], config: VoxelConfig, max_voxels: int | None = None) -> Voxels:
    """Mean features of the first points of each occupied voxel.

    Args:
        scans: one (N, F) float32 tensor per scan, columns as in `config.point_fields`, metres, LiDAR frame.
        config: range and sizes.
        max_voxels: limit per scan, `config.max_voxels` unless given.

    Returns:
        Voxels on maps of `config.sparse_shape`, with (V, F) float32 means.

    Raises:
        InvalidValueError: a scan has other columns, or coordinates that are not finite.
    """
    limit = config.max_voxels if max_voxels is None else max_voxels
    coords, features, first_points = [], [], []
    for number, points in enumerate(scans):
        _check_points(points, config)
        keys, means, first = _voxel_means(points, config, limit)
        batch_of = keys.new_full((len(keys), 1), number, dtype=torch.int32)
        coords.append(torch.cat((batch_of, coords_from_keys(keys, config.grid_shape)[:, 1:]), 1))
        features.append(means)
        first_points.append(first)
    sites = Sites(coords=torch.cat(coords), shape=config.sparse_shape, batch_size=len(scans))
    cells = SparseFeatures(sites=sites, features=torch.cat(features))
    return Voxels(cells=cells, first_points=torch.cat(first_points))


def _check_points(points: Tensor, config: VoxelConfig) -> None:
    if points.dim() != 2 or points.shape[1] != len(config.point_fields):
        raise InvalidValueError(
            f"voxelize: expected points (N, {len(config.point_fields)}) with columns {config.point_fields}, "
            f"got {tuple(points.shape)}"
        )
    if not bool(torch.isfinite(points).all()):
        row = int((~torch.isfinite(points)).any(1).nonzero()[0])
        raise InvalidValueError(f"voxelize: point {row} is not finite: {points[row].tolist()}; drop such points first")


def _voxel_means(points: Tensor, config: VoxelConfig, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sorted row-major voxel keys (V,), mean features (V, F) and first points (V,) of one scan."""
    depth, height, width = config.grid_shape
    # In float32, floor((p - minimum) / size), as the reference does: points lie on voxel borders, and in float64
    # some of them would fall into the neighbour.
    low = points.new_tensor(config.point_range_m[:3])
    cells = torch.floor((points[:, :3] - low) / points.new_tensor(config.voxel_size_m))
    fits = ((cells >= 0) & (cells < cells.new_tensor((width, height, depth)))).all(1)
    rows = fits.nonzero().squeeze(1)
    x, y, z = cells[rows].long().unbind(1)
    keys, order = torch.sort((z * height + y) * width + x, stable=True)
    rows = rows[order]
    voxel_keys, counts = torch.unique_consecutive(keys, return_counts=True)
    starts = torch.cumsum(counts, 0) - counts
    if len(voxel_keys) > limit:
        kept = torch.sort(torch.topk(rows[starts], limit, largest=False).indices).values
        voxel_keys, counts, starts = voxel_keys[kept], counts[kept], starts[kept]
    counts = counts.clamp(max=config.max_points_per_voxel)
    means = _ordered_mean(points[rows], starts, counts, config.max_points_per_voxel)
    return voxel_keys, means, rows[starts]


def _ordered_mean(points: Tensor, starts: Tensor, counts: Tensor, most: int) -> Tensor:
    """Mean of points[starts[v] : starts[v] + counts[v]], added in that order."""
    if len(starts) == 0:
        return points.new_zeros((0, points.shape[1]))
    total = points[starts]
    for rank in range(1, most):
        has_more = (counts > rank).nonzero().squeeze(1)
        total.index_add_(0, has_more, points[starts[has_more] + rank])
    return total / counts[:, None].to(total.dtype)
