from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.training.ground_truth_database import DatabaseConfig, build_database, load_database
from server.training.splits import make_split
from shared_models.errors import DatasetError, InvalidValueError
from tests.labelled_scenes import empty_scan, is_inside, make_scan

FIELDS = ("x", "y", "z", "intensity")
SCANS = {f"f{k}": make_scan(seed=k, frame_id=f"f{k}") for k in range(10)}
SPLIT = make_split(tuple(SCANS), 0.3, 0, "made")


def build(names=SPLIT.frame_ids, labelled=SPLIT.frame_ids, **settings):
    return build_database((SCANS[name] for name in names), labelled, FIELDS, DatabaseConfig(**settings))


def test_not_one_object_of_an_unlabelled_frame_gets_in():
    database = build()
    unlabelled = SPLIT.unlabelled(tuple(SCANS))
    assert len(database) == 18
    assert set(database.object_frames) == set(SPLIT.frame_ids)
    everything_unlabelled = {row.tobytes() for name in unlabelled for row in SCANS[name].points}
    assert not everything_unlabelled & {row.tobytes() for row in database.points}
    for row, frame_id in enumerate(database.object_frames):
        truth, points = SCANS[frame_id].truth, SCANS[frame_id].points
        k = int(np.flatnonzero((truth.boxes == database.boxes[row]).all(axis=1))[0])
        assert database.labels[row] == truth.labels[k]
        np.testing.assert_array_equal(database.points_of(row), points[is_inside(points, truth.boxes[k])])


def test_a_frame_outside_the_split_is_refused():
    outside = SPLIT.unlabelled(tuple(SCANS))[0]
    with pytest.raises(InvalidValueError, match=f"frame {outside} is not in the labelled split"):
        build(names=(*SPLIT.frame_ids, outside))
    with pytest.raises(InvalidValueError, match="came twice"):
        build(names=SPLIT.frame_ids * 2)


def test_a_database_of_everything_is_refused_for_a_part(tmp_path):
    whole = build(names=tuple(SCANS), labelled=tuple(SCANS))
    with pytest.raises(InvalidValueError, match="is not in the labelled split"):
        whole.require_within(SPLIT.frame_ids)
    whole.save(tmp_path / "objects.npz")
    with pytest.raises(InvalidValueError, match="is not in the labelled split"):
        load_database(tmp_path / "objects.npz", SPLIT.frame_ids)
    with pytest.raises(InvalidValueError, match="the frames that the database was made of"):
        replace(whole, frame_ids=frozenset(SPLIT.frame_ids))


def test_saved_and_loaded(tmp_path):
    database, path = build(), tmp_path / "deep" / "objects.npz"
    database.save(path)
    loaded = load_database(path, SPLIT.frame_ids)
    assert loaded.sha256 == database.sha256
    assert loaded.frame_ids == database.frame_ids
    np.testing.assert_array_equal(loaded.points, database.points)
    assert [p.name for p in path.parent.iterdir()] == ["objects.npz"]


def test_damaged_files_are_refused(tmp_path):
    database, path = build(), tmp_path / "objects.npz"
    with pytest.raises(DatasetError, match="no readable ground-truth database"):
        load_database(path, SPLIT.frame_ids)
    database.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="no readable ground-truth database"):
        load_database(path, SPLIT.frame_ids)
    path.write_bytes(whole)
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["boxes"] = arrays["boxes"] + np.float32(1)
    np.savez(path, **arrays)
    with pytest.raises(DatasetError, match="SHA-256 differs"):
        load_database(path, SPLIT.frame_ids)


def test_few_points_pseudo_and_ignored_boxes_are_left_out():
    assert len(build(min_points=21)) < len(build(min_points=20)) == 18
    scan = SCANS["f0"]
    marks = np.arange(6)
    truth = replace(scan.truth, is_ignored=marks == 0, is_exact=marks != 1)
    database = build_database([replace(scan, truth=truth)], ["f0"], FIELDS)
    assert {row.tobytes() for row in database.boxes} == {row.tobytes() for row in scan.truth.boxes[2:]}


def test_frames_without_objects():
    database = build_database([empty_scan("a"), empty_scan("b", points=3)], ["a", "b"], FIELDS)
    assert len(database) == 0
    assert database.frame_ids == {"a", "b"}
    assert database.rows_of(0).shape == (0,)


def test_other_point_fields_are_refused():
    with pytest.raises(InvalidValueError, match=r"frame f0\.points: expected shape \(any, 5\)"):
        build_database([SCANS["f0"]], ["f0"], (*FIELDS, "elongation"))
