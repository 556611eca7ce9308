from __future__ import annotations

import numpy as np
import pytest

from server.training.augmentations.object_scaling import ObjectScaling, ObjectScalingConfig
from shared_models.errors import InvalidValueError
from tests.labelled_scenes import inside_offsets, is_inside, make_scan


def test_only_the_named_classes_change_and_points_scale_alike():
    scan = make_scan()
    done = ObjectScaling(ObjectScalingConfig()).apply_recorded(scan, np.random.default_rng(0))
    assert done.transform.is_identity
    factors = done.scan.truth.boxes[:, 3:6] / scan.truth.boxes[:, 3:6]
    np.testing.assert_allclose(factors, factors[:, :1] * np.ones(3), rtol=1e-5)  # the same along all axes
    is_car = scan.truth.labels == 0
    assert ((factors[is_car] >= 0.75) & (factors[is_car] <= 0.95)).all()
    assert len(set(np.round(factors[is_car, 0], 5))) == is_car.sum()  # each its own
    np.testing.assert_allclose(factors[~is_car], 1)
    for old, new in zip(scan.truth.boxes, done.scan.truth.boxes, strict=True):
        mine = is_inside(scan.points, old)
        expected = inside_offsets(scan.points[mine], old) * (new[3] / old[3])
        np.testing.assert_allclose(inside_offsets(done.scan.points[mine], new), expected, atol=1e-4)


def test_a_wrong_range_is_refused():
    with pytest.raises(InvalidValueError, match="low <= high"):
        ObjectScalingConfig(ranges=((1.0, 0.9),))
