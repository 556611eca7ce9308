from __future__ import annotations

import numpy as np
import pytest
import torch

from server.training.augment import AppliedTransform
from server.training.features.scene import FeatureScan, moved_keypoints
from shared_models.errors import InvalidValueError
from tests.feature_scenes import make_feature_scan, make_keypoints


def test_keypoints_move_as_points_do():
    keypoints = make_keypoints(0)
    for transform in (AppliedTransform(is_flipped_y=True, rotation_rad=1.0, scale=1.1), AppliedTransform(scale=0.9)):
        moved = moved_keypoints(keypoints, transform)
        np.testing.assert_allclose(moved.positions.numpy(), transform.points(keypoints.positions.numpy()), atol=1e-5)
        assert moved.features is keypoints.features
    assert moved_keypoints(keypoints, AppliedTransform()) is keypoints
    assert moved_keypoints(None, AppliedTransform(scale=0.9)) is None


def test_a_changed_scan_keeps_where_it_came_from():
    scan = make_feature_scan(0)
    made = scan.changed(make_feature_scan(1).features.grid, None)
    assert (made.scene_id, made.features.backbone_hash) == (scan.scene_id, scan.features.backbone_hash)
    assert made.truth is scan.truth
    assert made.features.keypoints is None
    assert torch.equal(made.features.grid.coords, make_feature_scan(1).features.grid.coords)
    with pytest.raises(InvalidValueError, match="FeatureScan.scene_id"):
        FeatureScan(scene_id="a/b", features=scan.features, truth=scan.truth)
