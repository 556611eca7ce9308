from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.training.augment import AppliedTransform, wrapped
from shared_models.errors import InvalidValueError
from tests.labelled_scenes import inside_offsets, is_inside, make_scan

transforms = st.builds(
    AppliedTransform,
    is_flipped_x=st.booleans(),
    is_flipped_y=st.booleans(),
    rotation_rad=st.floats(-math.pi, math.pi),
    scale=st.floats(0.5, 2.0),
)
SCAN = make_scan(seed=1)


def test_hand_worked_values():
    box = np.array([[10, 2, -1, 4, 2, 1.5, 0.3]], dtype=np.float32)
    flipped_x = AppliedTransform(is_flipped_x=True).boxes(box)
    np.testing.assert_allclose(flipped_x, [[10, -2, -1, 4, 2, 1.5, -0.3]], atol=1e-6)
    flipped_y = AppliedTransform(is_flipped_y=True).boxes(box)
    np.testing.assert_allclose(flipped_y, [[-10, 2, -1, 4, 2, 1.5, math.pi - 0.3]], atol=1e-6)
    turned = AppliedTransform(rotation_rad=math.pi / 2).boxes(box)
    np.testing.assert_allclose(turned, [[-2, 10, -1, 4, 2, 1.5, 0.3 + math.pi / 2]], atol=1e-5)
    scaled = AppliedTransform(scale=1.1).boxes(box)
    np.testing.assert_allclose(scaled, [[11, 2.2, -1.1, 4.4, 2.2, 1.65, 0.3]], atol=1e-5)
    points = np.array([[1, 2, 3, 0.5, 7]], dtype=np.float32)
    everything = AppliedTransform(is_flipped_x=True, rotation_rad=math.pi / 2, scale=2)  # (1,-2) turns to (2, 1)
    np.testing.assert_allclose(everything.points(points), [[4, 2, 6, 0.5, 7]], atol=1e-5)


@given(transform=transforms)
@settings(max_examples=60, deadline=None)
def test_points_stay_where_they_are_in_their_box(transform):
    """The place of a point in its box's own frame is kept, but for the mirrored side and the scale."""
    moved = transform.scan(SCAN)
    mirrors = -1.0 if transform.is_flipped_x != transform.is_flipped_y else 1.0
    for before, after in zip(SCAN.truth.boxes, moved.truth.boxes, strict=True):
        inside = is_inside(SCAN.points, before)
        assert inside.sum() >= 20
        assert is_inside(moved.points[inside], after, 1e-3).all()
        old, new = inside_offsets(SCAN.points[inside], before), inside_offsets(moved.points[inside], after)
        # A mirror along x keeps "along"; one along y turns the heading to pi - yaw, which does the same.
        np.testing.assert_allclose(new, old * transform.scale * [1, mirrors, 1], atol=2e-4)
    np.testing.assert_array_equal(moved.points[:, 3], SCAN.points[:, 3])


@given(transform=transforms)
@settings(max_examples=60, deadline=None)
def test_the_inverse_undoes_it(transform):
    back = transform.inverse.scan(transform.scan(SCAN))
    np.testing.assert_allclose(back.points, SCAN.points, atol=1e-4)
    np.testing.assert_allclose(back.truth.boxes[:, :6], SCAN.truth.boxes[:, :6], atol=1e-4)
    np.testing.assert_allclose(np.exp(1j * back.truth.boxes[:, 6]), np.exp(1j * SCAN.truth.boxes[:, 6]), atol=1e-5)
    assert ((back.truth.boxes[:, 6] >= -3.141593) & (back.truth.boxes[:, 6] <= 3.141593)).all()


@given(first=transforms, second=transforms)
@settings(max_examples=60, deadline=None)
def test_two_in_a_row_are_one(first, second):
    both = first.then(second)
    one_by_one, at_once = second.scan(first.scan(SCAN)), both.scan(SCAN)
    np.testing.assert_allclose(at_once.points, one_by_one.points, atol=2e-3)
    np.testing.assert_allclose(at_once.truth.boxes[:, :6], one_by_one.truth.boxes[:, :6], atol=2e-3)
    headings = (np.exp(1j * scan.truth.boxes[:, 6].astype(float)) for scan in (at_once, one_by_one))
    np.testing.assert_allclose(next(headings), next(headings), atol=1e-5)


def test_nothing_is_written_to_and_marks_are_kept():
    points, boxes = SCAN.points.copy(), SCAN.truth.boxes.copy()
    moved = AppliedTransform(is_flipped_x=True, rotation_rad=1, scale=1.05).scan(SCAN)
    np.testing.assert_array_equal(SCAN.points, points)
    np.testing.assert_array_equal(SCAN.truth.boxes, boxes)
    np.testing.assert_array_equal(moved.truth.labels, SCAN.truth.labels)
    assert moved.frame_id == SCAN.frame_id
    assert moved.points.dtype == moved.truth.boxes.dtype == np.float32


def test_wrapped_angles():
    angles = np.array([-3 * np.pi, -np.pi, -0.1, 0, 3.1, np.pi, 7.0])
    np.testing.assert_allclose(
        wrapped(angles), [-np.pi, -np.pi, -0.1, 0, 3.1, -np.pi, 7.0 - 2 * np.pi], rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"scale": -1.0}, {"rotation_rad": math.nan}])
def test_a_wrong_transform_is_refused(wrong):
    with pytest.raises(InvalidValueError, match=next(iter(wrong))):
        AppliedTransform(**wrong)
