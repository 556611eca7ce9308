from __future__ import annotations

import numpy as np
import pytest

from server.training.features.random_sampling import FeatureRandomSampling, FeatureRandomSamplingConfig
from shared_models.errors import InvalidValueError
from tests.feature_scenes import MAP, make_feature_scan


def sample(scan, seed=0, **settings):
    return FeatureRandomSampling(FeatureRandomSamplingConfig(**settings), MAP).apply(scan, np.random.default_rng(seed))


def test_the_stated_part_of_cells_and_keypoints_stays_as_it_was():
    scan = make_feature_scan(0, density=0.9, keypoints=500)
    made = sample(scan, keep_probability=0.6)
    share = len(made.features.grid) / len(scan.features.grid)
    assert abs(share - 0.6) < 0.03
    old = dict(zip(scan.features.grid.keys().tolist(), scan.features.grid.features.tolist(), strict=True))
    new = zip(made.features.grid.keys().tolist(), made.features.grid.features.tolist(), strict=True)
    assert all(old[key] == row for key, row in new)
    positions = made.features.keypoints.positions.numpy()
    assert len(positions) == 500
    assert len(np.unique(positions, axis=0)) == 300
    np.testing.assert_array_equal(made.truth.boxes, scan.truth.boxes)


def test_the_other_reading_scales_boxes_keypoints_and_planes():
    scan = make_feature_scan(0)
    scales = []
    for seed in range(20):
        made = sample(scan, seed, reading="resize")
        scales.append(float(made.truth.boxes[0, 3] / scan.truth.boxes[0, 3]))
        np.testing.assert_allclose(made.truth.boxes[:, :6], scan.truth.boxes[:, :6] * scales[-1], rtol=1e-5)
        moved = made.features.keypoints.positions / scan.features.keypoints.positions
        np.testing.assert_allclose(moved, scales[-1], rtol=1e-4)
    assert 0.95 <= min(scales) < 0.97
    assert 1.03 < max(scales) <= 1.05


def test_settings_are_checked():
    with pytest.raises(InvalidValueError, match="reading: expected sample or resize"):
        FeatureRandomSamplingConfig(reading="both")
    with pytest.raises(InvalidValueError, match="min_scale"):
        FeatureRandomSamplingConfig(min_scale=1.2)
