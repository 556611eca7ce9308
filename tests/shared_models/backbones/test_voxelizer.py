from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_models.backbones.voxelizer import VoxelConfig, crop_to_range, voxelize
from shared_models.errors import InvalidValueError

CONFIG = VoxelConfig(
    point_range_m=(0.0, -2.0, -1.0, 4.0, 2.0, 1.0), voxel_size_m=(0.5, 0.5, 0.5), max_points_per_voxel=3, max_voxels=50
)


def random_points(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low, high = torch.tensor([-1.0, -3.0, -2.0, 0.0]), torch.tensor([5.0, 3.0, 2.0, 1.0])
    return low + torch.rand(count, 4, generator=generator) * (high - low)


def slow_voxels(points: torch.Tensor, config: VoxelConfig, limit: int) -> dict[tuple[int, ...], np.ndarray]:
    """One point after the other, as the definition says."""
    depth, height, width = config.grid_shape
    low, size = np.float32(config.point_range_m[:3]), np.float32(config.voxel_size_m)
    found: dict[tuple[int, ...], list[np.ndarray]] = {}
    for point in points.numpy():
        x, y, z = np.floor((point[:3] - low) / size).astype(int)
        if not (0 <= x < width and 0 <= y < height and 0 <= z < depth):
            continue
        if (z, y, x) not in found and len(found) == limit:
            continue
        held = found.setdefault((z, y, x), [])
        if len(held) < config.max_points_per_voxel:
            held.append(point)
    return {cell: np.mean(held, axis=0, dtype=np.float64) for cell, held in found.items()}


@pytest.mark.parametrize("limit", [1000, 20])
def test_equals_the_definition(limit: int) -> None:
    points = random_points(600)
    cells = voxelize([points], CONFIG, max_voxels=limit).cells
    expected = slow_voxels(points, CONFIG, limit)
    assert [tuple(c[1:]) for c in cells.sites.coords.tolist()] == sorted(expected)
    wanted = np.stack([expected[cell] for cell in sorted(expected)])
    np.testing.assert_allclose(cells.features.numpy(), wanted, rtol=1e-6, atol=1e-6)
    cells.sites.check_contents()


def test_first_points_are_those_that_opened_each_voxel() -> None:
    points = random_points(400, seed=1)
    voxels = voxelize([points], CONFIG)
    seen: dict[tuple[int, ...], int] = {}
    for row, point in enumerate(points):
        x, y, z = ((point[:3] - torch.tensor(CONFIG.point_range_m[:3])) / 0.5).floor().int().tolist()
        seen.setdefault((z, y, x), row)
    assert voxels.first_points.tolist() == [seen[tuple(c[1:])] for c in voxels.cells.sites.coords.tolist()]


def test_batch_with_an_empty_scan_equals_scans_alone() -> None:
    scans = [random_points(100, 2), torch.zeros(0, 4), random_points(200, 3)]
    together = voxelize(scans, CONFIG).cells
    assert together.sites.batch_size == 3
    for number, scan in enumerate(scans):
        alone = voxelize([scan], CONFIG).cells.scan(0)
        assert torch.equal(together.scan(number).coords, alone.coords)
        assert torch.equal(together.scan(number).features, alone.features)


def test_only_x_and_y_are_cropped() -> None:
    points = torch.tensor([[1.0, 0, 99, 0], [4.0, 2, 0, 0], [4.1, 0, 0, 0], [1, -2.1, 0, 0]])
    assert crop_to_range(points, CONFIG).tolist() == points[:2].tolist()


def test_bad_points_are_named() -> None:
    with pytest.raises(InvalidValueError, match=r"expected points \(N, 4\)"):
        voxelize([torch.zeros(3, 5)], CONFIG)
    points = random_points(10)
    points[7, 1] = float("nan")
    with pytest.raises(InvalidValueError, match="point 7 is not finite"):
        voxelize([points], CONFIG)
