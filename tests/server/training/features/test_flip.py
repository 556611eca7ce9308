from __future__ import annotations

import numpy as np
import pytest
import torch

from server.training.augment import AppliedTransform
from server.training.features.extraction import extract_points, extract_scan
from server.training.features.flip import FeatureFlip, FeatureFlipConfig, flip_cells, flip_scan
from server.training.features.geometry import FeatureMap
from server.training.features.rmse import grid_rmse, set_rmse
from shared_models.detectors import build, default_config
from shared_models.errors import InvalidValueError
from tests.feature_scenes import MAP, dense, make_feature_scan
from tests.labelled_scenes import make_scan

ALONG_X, ALONG_Y = AppliedTransform(is_flipped_x=True), AppliedTransform(is_flipped_y=True)
SYMMETRIC = FeatureMap(shape=(2, 8, 6), first_m=(-2.35, -3.15, 0.0), step_m=(0.8, 0.8, 1.6))


def test_rows_go_where_worked_out_by_hand():
    kitti = FeatureMap.of(default_config("second_iou", "kitti").voxels)
    assert round(-2 * kitti.first_m[1] / kitti.step_m[1]) == 200  # i to 200 - i, not to 199 - i
    grid = make_feature_scan(0).features.grid
    exact, naive = (dense(flip_cells(grid, ALONG_X, MAP, mapping)) for mapping in ("exact", "naive"))
    old = dense(grid)
    np.testing.assert_array_equal(exact[:, 1:], old[:, :0:-1])
    assert not exact[:, 0].any()
    np.testing.assert_array_equal(naive, old[:, ::-1])
    ahead = dense(flip_cells(grid, ALONG_Y, MAP, "naive"))
    np.testing.assert_array_equal(ahead, old[:, :, ::-1])
    assert len(flip_cells(grid, ALONG_Y, MAP)) == (old[:, :, 0] != 0).any(axis=-1).sum()  # all else is behind the map


def test_the_nearest_cell_to_the_mirrored_centre():
    coords = torch.from_numpy(np.argwhere(np.ones(MAP.shape)).astype(np.int32))
    centres = MAP.centres(coords)
    grid = type(make_feature_scan(0).features.grid)(coords=coords, features=centres.float(), shape=MAP.shape)
    made = flip_cells(grid, ALONG_X, MAP)
    error = (-made.features[:, 1].double() - MAP.centres(made.coords)[:, 1]).abs()
    assert float(error.max()) < MAP.step_m[1] / 2


def test_keypoints_and_boxes_follow():
    scan = make_feature_scan(1)
    made = flip_scan(scan, ALONG_X, MAP)
    sign = np.array([1, -1, 1], np.float32)
    positions = scan.features.keypoints.positions.numpy()
    np.testing.assert_array_equal(made.features.keypoints.positions.numpy(), positions * sign)
    np.testing.assert_array_equal(made.truth.boxes[:, :3], scan.truth.boxes[:, :3] * sign)
    np.testing.assert_allclose(np.exp(1j * made.truth.boxes[:, 6]), np.exp(-1j * scan.truth.boxes[:, 6]), atol=1e-6)


def test_probabilities():
    scan = make_feature_scan(1)
    never = FeatureFlip(FeatureFlipConfig(along_x_probability=0), MAP).apply(scan, np.random.default_rng(0))
    assert torch.equal(never.features.grid.features, scan.features.grid.features)
    half = FeatureFlip(FeatureFlipConfig(), MAP)
    moved = [
        not np.array_equal(half.apply(scan, np.random.default_rng(s)).truth.boxes, scan.truth.boxes) for s in range(40)
    ]
    assert 10 < sum(moved) < 30
    with pytest.raises(InvalidValueError, match="mapping: expected exact or naive"):
        FeatureFlipConfig(mapping="best")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["second_iou", "pv_rcnn"])
def test_the_exact_map_is_nearer_to_features_of_the_mirrored_points(name, seed):
    detector, scan = build(name, "tiny", seed=seed), make_scan(seed, background=6000, spread_m=7.0)
    feature_map, features = FeatureMap.of(detector.config.voxels), extract_scan(scan, detector)
    raw = extract_points(ALONG_X.scan(scan).points, detector)
    exact, naive = (flip_scan(features, ALONG_X, feature_map, m).features for m in ("exact", "naive"))
    errors = [grid_rmse(raw.grid, made.grid) for made in (exact, naive)]
    assert 0 < errors[0] < errors[1]
    if raw.keypoints is not None:
        assert set_rmse(raw.keypoints, exact.keypoints) > 0


def test_row_i_is_row_h_minus_i_of_a_symmetric_backbone_mirrored_about_a_voxel():
    """Strided convolutions are centred on even voxels; mirrored, they fit exactly one voxel further."""
    detector = build("second_iou", "tiny", seed=3)
    with torch.no_grad():
        for weight in detector.backbone_3d.parameters():
            if weight.dim() == 5:
                weight.copy_((weight + weight.flip(2)) / 2)
        detector.backbone_3d.conv_input[0].weight[..., 1] = 0  # the y of a point is not symmetric
    rng = np.random.default_rng(0)
    voxels = rng.integers((20, 60, 5), (330, 340, 35), (4000, 3))
    points = (voxels + 0.5) * 0.1 + (0, -20, -3)
    points = np.concatenate((points, rng.random((4000, 1))), axis=1).astype(np.float32)
    mirrored = ALONG_X.points(points) + np.array([0, 0.1, 0, 0], np.float32)
    expected = extract_points(mirrored, detector).grid
    grid = extract_points(points, detector).grid
    feature_map = FeatureMap.of(detector.config.voxels)
    made = flip_cells(grid, ALONG_X, feature_map, "exact")
    assert torch.equal(made.coords, expected.coords)
    torch.testing.assert_close(made.features, expected.features, rtol=1e-4, atol=1e-5)
    assert grid_rmse(expected, flip_cells(grid, ALONG_X, feature_map, "naive")) > 0.1 * float(expected.features.std())
