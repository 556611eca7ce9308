from __future__ import annotations

import numpy as np

from server.training.array_geometry import overlaps_bev
from server.training.object_edits import ObjectEdits, choose_without_overlap, edit_objects
from tests.labelled_scenes import empty_scan, inside_offsets, is_inside, make_scan


def test_points_follow_their_boxes_and_stand_on_the_same_ground():
    scan = make_scan(seed=2)
    rng = np.random.default_rng(0)
    edits = ObjectEdits(scale=rng.uniform(0.7, 1.0, (6, 3)), turn_rad=np.zeros(6))
    edited = edit_objects(scan, edits)
    assert len(edited.points) == len(scan.points)  # nothing is newly covered
    old, new = scan.truth.boxes, edited.truth.boxes
    np.testing.assert_allclose(new[:, 3:6], old[:, 3:6] * edits.scale, rtol=1e-6)
    np.testing.assert_allclose(new[:, 2] - new[:, 5] / 2, old[:, 2] - old[:, 5] / 2, atol=1e-6)
    for k in range(6):
        mine = is_inside(scan.points, old[k])
        np.testing.assert_allclose(
            inside_offsets(edited.points[mine], new[k]),
            inside_offsets(scan.points[mine], old[k]) * edits.scale[k],
            atol=1e-5,
        )
    background = ~np.any([is_inside(scan.points, box) for box in old], axis=0)
    np.testing.assert_array_equal(edited.points[background], scan.points[background])


def test_turned_objects_keep_their_points():
    scan = make_scan(seed=3, background=0)
    turn = np.linspace(-3, 3, 6)
    edited = edit_objects(scan, ObjectEdits(scale=np.ones((6, 3)), turn_rad=turn))
    headings = np.exp(1j * (scan.truth.boxes[:, 6] + turn))
    np.testing.assert_allclose(np.exp(1j * edited.truth.boxes[:, 6]), headings, atol=1e-5)
    for old, new in zip(scan.truth.boxes, edited.truth.boxes, strict=True):
        mine = is_inside(scan.points, old)
        np.testing.assert_allclose(
            inside_offsets(edited.points[mine], new), inside_offsets(scan.points[mine], old), atol=1e-5
        )


def test_enlarged_boxes_drop_the_background_that_they_newly_cover():
    scan = make_scan(seed=4, background=20_000)
    edited = edit_objects(scan, ObjectEdits(scale=np.full((6, 3), 1.5), turn_rad=np.zeros(6)))
    own = np.any([is_inside(scan.points, box) for box in scan.truth.boxes], axis=0)
    covered = np.any([is_inside(scan.points, box) for box in edited.truth.boxes], axis=0) & ~own
    assert covered.sum() > 5
    assert len(edited.points) == len(scan.points) - covered.sum()
    for old, new in zip(scan.truth.boxes, edited.truth.boxes, strict=True):
        assert is_inside(edited.points, new, 1e-4).sum() == is_inside(scan.points, old).sum()


def test_a_scan_without_objects_stays_as_it_is():
    scan = empty_scan(points=5)
    nothing = choose_without_overlap(scan.truth.boxes, np.ones((0, 3, 3)), np.zeros((0, 3)))
    np.testing.assert_array_equal(edit_objects(scan, nothing).points, scan.points)


def row_of_boxes(*places_m: float) -> np.ndarray:
    return np.array([[x, 0, 0, 4, 2, 1.5, 0] for x in places_m], dtype=np.float32)


def tries(*factors: tuple[float, ...]) -> np.ndarray:
    return np.repeat(np.array(factors)[:, :, None], 3, axis=2)


def test_the_first_try_that_fits_is_taken():
    boxes = row_of_boxes(0, 5)  # one metre apart: together they may grow by 1 m
    edits = choose_without_overlap(boxes, tries((2.0, 1.4, 1.1), (1.4, 1.2, 1.3)), np.zeros((2, 3)))
    # The first fits at 1.4 beside the second as it is (0.2 m left); then the second has room for 0.2 m / 2 = 10 % only.
    np.testing.assert_allclose(edits.scale[:, 0], [1.4, 1.0])
    assert not overlaps_bev(*(edits.boxes(boxes)[k : k + 1] for k in range(2))).any()


def test_objects_with_room_take_their_first_try():
    boxes = row_of_boxes(0, 50)
    edits = choose_without_overlap(boxes, tries((2.0, 1.0), (0.8, 1.0)), np.array([[0.5, 0], [0.1, 0]]))
    np.testing.assert_allclose(edits.scale[:, 2], [2.0, 0.8])
    np.testing.assert_allclose(edits.turn_rad, [0.5, 0.1])


def test_crowds_never_come_to_overlap():
    rng = np.random.default_rng(5)
    for _ in range(10):
        boxes = row_of_boxes(*np.cumsum(rng.uniform(4.0, 5.5, 12)))
        edits = choose_without_overlap(boxes, tries(*rng.uniform(0.8, 1.4, (12, 20))), rng.uniform(-0.4, 0.4, (12, 20)))
        shared = overlaps_bev(edits.boxes(boxes), edits.boxes(boxes))
        assert not (shared & ~np.eye(12, dtype=bool)).any()
