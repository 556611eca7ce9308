from __future__ import annotations

import numpy as np

from server.training.features.rotation import FeatureRotation, FeatureRotationConfig
from tests.feature_scenes import MAP, make_feature_scan


def test_angles_are_drawn_evenly_within_the_range():
    scan, augmentation = make_feature_scan(2, boxes=1), FeatureRotation(FeatureRotationConfig(max_rad=0.5), MAP)
    yaws = [augmentation.apply(scan, np.random.default_rng(s)).truth.boxes[0, 6] for s in range(60)]
    turns = np.angle(np.exp(1j * (np.array(yaws) - scan.truth.boxes[0, 6])))
    assert -0.5 <= turns.min() < -0.4
    assert 0.4 < turns.max() <= 0.5
