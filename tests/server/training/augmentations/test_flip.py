from __future__ import annotations

import numpy as np
import pytest

from server.training.augmentations.flip import Flip, FlipConfig
from shared_models.errors import InvalidValueError
from tests.labelled_scenes import make_scan


def test_along_x_turns_y_around():
    scan = make_scan()
    done = Flip(FlipConfig(along_x_probability=1)).apply_recorded(scan, np.random.default_rng(0))
    assert (done.transform.is_flipped_x, done.transform.is_flipped_y) == (True, False)
    np.testing.assert_array_equal(done.scan.points * [1, -1, 1, 1], scan.points)
    np.testing.assert_allclose(done.scan.truth.boxes[:, 6], -scan.truth.boxes[:, 6], atol=1e-6)


def test_along_y_turns_x_around():
    scan = make_scan()
    config = FlipConfig(along_x_probability=0, along_y_probability=1)
    done = Flip(config).apply_recorded(scan, np.random.default_rng(0))
    assert (done.transform.is_flipped_x, done.transform.is_flipped_y) == (False, True)
    np.testing.assert_array_equal(done.scan.points * [-1, 1, 1, 1], scan.points)


def test_how_often():
    flip, rng, scan = Flip(FlipConfig(along_y_probability=0.2)), np.random.default_rng(1), make_scan(background=0)
    drawn = [flip.apply_recorded(scan, rng).transform for _ in range(400)]
    assert 160 < sum(t.is_flipped_x for t in drawn) < 240
    assert 50 < sum(t.is_flipped_y for t in drawn) < 110


def test_a_wrong_probability_is_refused():
    with pytest.raises(InvalidValueError, match="along_x_probability"):
        FlipConfig(along_x_probability=1.5)
