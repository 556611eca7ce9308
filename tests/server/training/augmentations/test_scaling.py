from __future__ import annotations

import numpy as np
import pytest

from server.training.augmentations.scaling import Scaling, ScalingConfig
from shared_models.errors import InvalidValueError
from tests.labelled_scenes import make_scan


def test_positions_and_sizes_get_the_same_factor():
    scan, rng = make_scan(background=0), np.random.default_rng(0)
    factors = []
    for _ in range(200):
        done = Scaling(ScalingConfig()).apply_recorded(scan, rng)
        factor = done.transform.scale
        np.testing.assert_allclose(done.scan.points[:, :3], scan.points[:, :3] * factor, rtol=1e-5)
        np.testing.assert_array_equal(done.scan.points[:, 3], scan.points[:, 3])
        np.testing.assert_allclose(done.scan.truth.boxes[:, :6], scan.truth.boxes[:, :6] * factor, rtol=1e-5)
        factors.append(factor)
    assert 0.95 <= min(factors) < 0.955
    assert 1.045 < max(factors) <= 1.05


def test_wrong_factors_are_refused():
    with pytest.raises(InvalidValueError, match="low <= high"):
        ScalingConfig(low=1.2, high=1.1)
