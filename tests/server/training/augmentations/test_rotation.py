from __future__ import annotations

import math

import numpy as np

from server.training.augmentations.rotation import Rotation, RotationConfig
from tests.labelled_scenes import make_scan


def test_angles_fill_the_range_and_headings_follow():
    scan, rng = make_scan(background=0), np.random.default_rng(0)
    angles = []
    for _ in range(200):
        done = Rotation(RotationConfig()).apply_recorded(scan, rng)
        angle = done.transform.rotation_rad
        turned = (scan.points[:, 0] + 1j * scan.points[:, 1]) * np.exp(1j * angle)
        np.testing.assert_allclose(done.scan.points[:, 0] + 1j * done.scan.points[:, 1], turned, atol=1e-4)
        change = np.exp(1j * (done.scan.truth.boxes[:, 6].astype(float) - scan.truth.boxes[:, 6]))
        np.testing.assert_allclose(change, np.exp(1j * angle), atol=1e-5)
        angles.append(angle)
    assert -math.pi / 4 <= min(angles) < -0.7
    assert 0.7 < max(angles) <= math.pi / 4


def test_the_curriculum_stops_at_half_a_turn():
    assert RotationConfig(max_rad=3).strengthened(2).max_rad == math.pi
