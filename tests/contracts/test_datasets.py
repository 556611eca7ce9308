"""What every dataset promises, over every name in the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared_models.dataset import Dataset
from shared_models.datasets import DATASETS, open_dataset
from shared_models.errors import DatasetError, NotFoundError, UnknownNameError
from tests.sample_folders import small_folders


@pytest.fixture
def make_simulated(tmp_path):
    def make():
        (tmp_path / "simulated.toml").write_text("drives = 2\nframes_per_drive = 2\n")
        return tmp_path

    return make


@pytest.fixture(params=sorted(DATASETS))
def named_folder(request, make_kitti, make_simulated, tmp_path) -> tuple[str, Path]:
    roots = {"kitti": make_kitti, "simulated": make_simulated, **small_folders(tmp_path)}
    if request.param not in roots:
        pytest.fail(f"add a small {request.param!r} folder to this fixture")
    return request.param, roots[request.param]()


@pytest.fixture
def dataset(named_folder) -> Dataset:
    return open_dataset(*named_folder)


def test_frame_ids_are_unique_names(dataset):
    assert len(dataset) == len(dataset.frame_ids) == len(set(dataset.frame_ids)) > 0


def test_every_frame_is_what_was_asked_for(dataset):
    for frame_id in dataset.frame_ids:
        frame = dataset.frame(frame_id)
        assert frame.frame_id == frame_id
        assert frame.points.dtype == np.float32
        assert frame.points.flags.c_contiguous
        assert frame.point_fields[:4] == ("x", "y", "z", "intensity")
        assert not len(frame.points) or 0 <= frame.points[:, 3].min() <= frame.points[:, 3].max() <= 1


def test_frames_come_in_the_order_of_their_ids_and_the_same_each_time(dataset):
    first, second = list(dataset), list(dataset)
    assert tuple(f.frame_id for f in first) == dataset.frame_ids
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.points, other.points)


def test_without_labels_the_scans_are_the_same(dataset, named_folder):
    unlabelled = open_dataset(*named_folder, with_labels=False)
    assert unlabelled.frame_ids == dataset.frame_ids
    for one, other in zip(unlabelled, dataset, strict=True):
        np.testing.assert_array_equal(one.points, other.points)


def test_an_unknown_frame_is_refused(dataset):
    with pytest.raises(NotFoundError):
        dataset.frame("no-such-frame")


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_missing_folder_is_refused(name, tmp_path):
    with pytest.raises(DatasetError, match="missing"):
        open_dataset(name, tmp_path / "missing")


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(UnknownNameError, match="kitti"):
        open_dataset("kity", tmp_path)
