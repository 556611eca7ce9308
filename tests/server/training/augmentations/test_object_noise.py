from __future__ import annotations

import numpy as np

from server.training.augmentations.object_noise import ObjectNoise, ObjectNoiseConfig
from tests.labelled_scenes import make_scan


def test_angles_and_sizes_stay_in_their_ranges():
    scan, rng = make_scan(background=100), np.random.default_rng(0)
    turns, factors = [], []
    for _ in range(100):
        boxes = ObjectNoise(ObjectNoiseConfig()).apply(scan, rng).truth.boxes
        turns.append(np.angle(np.exp(1j * (boxes[:, 6].astype(float) - scan.truth.boxes[:, 6]))))
        factors.append(boxes[:, 3] / scan.truth.boxes[:, 3])
    turned, factor = np.array(turns), np.array(factors)
    assert 0.37 < np.abs(turned).max() <= 0.385 + 1e-5
    assert 0.15 < (np.abs(turned) < 1e-6).mean() < 0.25  # a fifth is not turned
    assert 0.95 - 1e-5 <= factor.min() < 0.952
    assert 1.048 < factor.max() <= 1.05 + 1e-5
