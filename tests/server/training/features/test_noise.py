from __future__ import annotations

import numpy as np
import torch

from server.training.features.noise import FeatureNoise, FeatureNoiseConfig
from tests.feature_scenes import MAP, make_feature_scan


def test_strength_is_relative_to_the_active_features_and_cells_stay():
    scan = make_feature_scan(0, density=0.9, keypoints=2000)
    made = FeatureNoise(FeatureNoiseConfig(strength=0.3), MAP).apply(scan, np.random.default_rng(0))
    assert torch.equal(made.features.grid.coords, scan.features.grid.coords)
    assert torch.equal(made.features.keypoints.positions, scan.features.keypoints.positions)
    for part in ("grid", "keypoints"):
        old, new = (getattr(s.features, part).features.double().numpy() for s in (scan, made))
        noise = (new - old) / old.std()
        assert abs(noise.std() - 0.3) < 0.01
        assert abs(noise.mean()) < 0.01
        assert abs(np.corrcoef(noise[:, 0], noise[:, 1])[0, 1]) < 0.05


def test_no_strength_changes_nothing():
    scan = make_feature_scan(0)
    made = FeatureNoise(FeatureNoiseConfig(strength=0), MAP).apply(scan, np.random.default_rng(0))
    assert torch.equal(made.features.grid.features, scan.features.grid.features)
