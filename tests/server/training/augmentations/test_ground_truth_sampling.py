from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.training.array_geometry import overlaps_bev
from server.training.augmentations.ground_truth_sampling import GroundTruthSampling, GroundTruthSamplingConfig
from server.training.ground_truth_database import build_database
from server.training.samples import LabelledScan, Truth
from shared_models.errors import InvalidValueError
from tests.labelled_scenes import empty_scan, is_inside, make_scan

FIELDS = ("x", "y", "z", "intensity")
SCANS = [make_scan(seed=k, frame_id=f"f{k}", spread_m=6.0 + k) for k in range(1, 13)]
DATABASE = build_database(SCANS, [scan.frame_id for scan in SCANS], FIELDS)


def sample(scan: LabelledScan, seed: int = 0, database=DATABASE, **settings) -> LabelledScan:
    config = GroundTruthSamplingConfig(**settings)
    return GroundTruthSampling(config, database).apply(scan, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(8))
def test_inserted_objects_collide_with_nothing_and_bring_their_points(seed):
    scan = make_scan(seed=50, background=20_000)
    made = sample(scan, seed)
    old, boxes = len(scan.truth), made.truth.boxes
    assert len(boxes) > old
    np.testing.assert_array_equal(boxes[:old], scan.truth.boxes)
    inserted = boxes[old:]
    shared = overlaps_bev(inserted, boxes)
    assert shared.sum() == len(inserted)  # each overlaps itself only
    for box in inserted:
        row = int(np.flatnonzero((DATABASE.boxes == box).all(axis=1))[0])  # at its own place, its height kept
        held = made.points[is_inside(made.points, box)]
        np.testing.assert_array_equal(held, DATABASE.points_of(row))  # and no point of the scene among them
        assert DATABASE.labels[row] == made.truth.labels[old + int(np.flatnonzero((inserted == box).all(axis=1))[0])]
    assert made.truth.is_exact.all()
    covered = np.any([is_inside(scan.points, box) for box in inserted], axis=0)
    brought = sum(len(DATABASE.points_of(np.flatnonzero((DATABASE.boxes == b).all(axis=1))[0])) for b in inserted)
    assert len(made.points) == len(scan.points) - covered.sum() + brought


def far_apart(label_counts: tuple[int, int, int]) -> LabelledScan:
    """Objects 300 m away, so that they collide with nothing."""
    labels = np.repeat(np.arange(3), label_counts)
    boxes = np.array([[300 + 10 * k, 0, 0, 4, 2, 1.5, 0] for k in range(len(labels))], dtype=np.float32)
    return LabelledScan(
        frame_id="far", points=np.zeros((1, 4), np.float32), truth=Truth.exact(boxes.reshape(-1, 7), labels)
    )


def line_database(per_class: int = 30):
    """A database whose objects never meet."""
    labels = np.repeat(np.arange(3), per_class)
    boxes = np.array([[6 * k, 50, 0, 4, 2, 1.5, 0] for k in range(len(labels))], dtype=np.float32)
    points = np.repeat(np.concatenate((boxes[:, :3], boxes[:, :1] * 0), axis=1), 5, axis=0)
    scan = LabelledScan(frame_id="line", points=points, truth=Truth.exact(boxes, labels))
    return build_database([scan], ["line"], FIELDS)


@pytest.mark.parametrize(
    ("held", "is_capped", "expected"),
    [
        ((0, 0, 0), True, (20, 15, 15)),
        ((5, 15, 40), True, (15, 0, 0)),
        ((5, 15, 40), False, (20, 15, 15)),
    ],
)
def test_numbers_per_class_with_and_without_the_scene(held, is_capped, expected):
    scan = far_apart(held)
    made = sample(scan, is_capped=is_capped, database=line_database())
    added = made.truth.labels[len(scan.truth) :]
    assert tuple(np.bincount(added, minlength=3)) == expected
    assert len(np.unique(made.truth.boxes[len(scan.truth) :], axis=0)) == len(added)  # none twice


def test_all_there_are_where_there_are_few():
    made = sample(empty_scan(), database=line_database(per_class=2), numbers=(20, 0, 5))
    assert np.bincount(made.truth.labels, minlength=3).tolist() == [2, 0, 2]


def test_the_same_object_is_not_put_beside_itself():
    scan = SCANS[0]
    own = build_database([scan], [scan.frame_id], FIELDS)
    made = sample(scan, database=own, is_capped=False)
    assert len(made.truth) == len(scan.truth)
    np.testing.assert_array_equal(made.points, scan.points)


def test_clearance_removes_more_of_the_scene():
    scan = make_scan(seed=50, background=20_000)
    assert len(sample(scan, clearance_m=0.5).points) < len(sample(scan).points)


def test_an_empty_database_changes_nothing():
    nothing = build_database([empty_scan("f1")], ["f1"], FIELDS)
    assert sample(SCANS[0], database=nothing) is SCANS[0]


def test_other_point_fields_are_refused():
    scan = make_scan(seed=50)
    wide = replace(scan, points=np.concatenate((scan.points, scan.points[:, :1]), axis=1))
    with pytest.raises(InvalidValueError, match=r"frame frame: its points have 5 fields, the database has x, y"):
        sample(wide)
