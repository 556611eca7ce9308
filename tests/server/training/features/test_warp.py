from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from server.training.augment import AppliedTransform
from server.training.features.geometry import FeatureMap
from server.training.features.warp import warp_cells, warp_scan
from tests.feature_scenes import MAP, dense, make_feature_scan, make_grid

OBLONG = FeatureMap(shape=(2, 30, 44), first_m=(-7.0, -11.5, -1.75), step_m=(0.4, 0.8, 1.6))
SQUARE = FeatureMap(shape=(2, 20, 20), first_m=(-9.5, -9.5, 0.0), step_m=(1.0, 1.0, 1.6))


def sampled(grid, transform: AppliedTransform, feature_map: FeatureMap) -> np.ndarray:
    """(D, H, W, C): torch's own bilinear sampling of the dense map, in float64."""
    _, height, width = feature_map.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    first, step = torch.tensor(feature_map.first_m[:2]), torch.tensor(feature_map.step_m[:2])
    place = (first + torch.stack((x, y), -1) * step).double()
    turn = torch.tensor(-transform.rotation_rad, dtype=torch.float64)
    matrix = torch.stack((turn.cos(), -turn.sin(), turn.sin(), turn.cos())).view(2, 2) / transform.scale
    cell = (place @ matrix.T - first) / step
    unit = cell / torch.tensor([(width - 1) / 2, (height - 1) / 2]) - 1
    planes = torch.from_numpy(dense(grid)).permute(0, 3, 1, 2)
    unit = unit[None].expand(len(planes), -1, -1, -1)
    moved = F.grid_sample(planes, unit, mode="bilinear", padding_mode="zeros", align_corners=True)
    return moved.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("feature_map", [MAP, OBLONG, SQUARE])
@pytest.mark.parametrize(
    "transform",
    [
        AppliedTransform(rotation_rad=0.6),
        AppliedTransform(rotation_rad=-2.5),
        AppliedTransform(scale=1.05),
        AppliedTransform(scale=0.95, rotation_rad=0.1),
    ],
)
def test_the_same_as_sampling_the_dense_map(feature_map, transform):
    grid = make_grid(3, feature_map=feature_map)
    made, expected = warp_cells(grid, transform, feature_map), sampled(grid, transform, feature_map)
    np.testing.assert_allclose(dense(made), expected, atol=5e-4)
    assert len(made) >= (expected > 2e-3).any(axis=-1).sum()
    assert (made.features > 0).all()  # no cell is active that got nothing


def test_a_quarter_turn_of_a_square_map_is_exact():
    grid = make_grid(4, feature_map=SQUARE)
    made = warp_cells(grid, AppliedTransform(rotation_rad=math.pi / 2), SQUARE)
    # Seen with y upwards, counter-clockwise: row y, column x comes from row -x, column y.
    np.testing.assert_allclose(dense(made), np.rot90(dense(grid), 1, axes=(2, 1)), atol=1e-5)
    assert len(made) == len(grid)


def test_no_turn_changes_nothing():
    grid = make_grid(4)
    assert torch.equal(warp_cells(grid, AppliedTransform(), MAP).features, grid.features)
    assert len(warp_cells(make_grid(4, density=0), AppliedTransform(rotation_rad=0.5), MAP)) == 0


def test_keypoints_and_boxes_are_moved_exactly_and_keep_their_features():
    scan, transform = make_feature_scan(2), AppliedTransform(rotation_rad=0.7, scale=1.02)
    made = warp_scan(scan, transform, MAP)
    old, new = (s.features.keypoints.positions.double().numpy() for s in (scan, made))
    turned = (old[:, 0] + 1j * old[:, 1]) * np.exp(0.7j) * 1.02
    np.testing.assert_allclose(new, np.stack((turned.real, turned.imag, old[:, 2] * 1.02), axis=1), atol=1e-5)
    assert torch.equal(made.features.keypoints.features, scan.features.keypoints.features)
    np.testing.assert_array_equal(made.truth.boxes, transform.boxes(scan.truth.boxes))


def test_cells_move_with_the_boxes():
    """A lone active cell at a box's centre is, after the turn, at the turned box's centre."""
    grid = make_grid(0, density=0)
    cell = torch.tensor([[1, 30, 20]], dtype=torch.int32)
    grid = type(grid)(coords=cell, features=torch.ones(1, 1), shape=MAP.shape)
    made = warp_cells(grid, AppliedTransform(rotation_rad=0.4), MAP)
    x, y, _ = MAP.centres(cell)[0].tolist()
    weights = made.features.double()
    centre = (MAP.centres(made.coords)[:, :2] * weights).sum(0) / weights.sum()
    expected = (x + 1j * y) * np.exp(0.4j)
    np.testing.assert_allclose(centre.numpy(), [expected.real, expected.imag], atol=0.15 * MAP.step_m[0])
    assert (made.coords[:, 0] == 1).all()
