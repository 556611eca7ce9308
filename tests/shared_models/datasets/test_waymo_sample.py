from __future__ import annotations

import numpy as np
import pytest

from shared_models.datasets.waymo_sample import WaymoSampleDataset
from shared_models.errors import DatasetError, NotFoundError
from tests.sample_folders import scan, write_waymo


@pytest.fixture
def root(tmp_path):
    return write_waymo(tmp_path / "waymo")


def test_raw_intensity_is_brought_to_one_and_the_vehicle_left_out(root):
    frame = WaymoSampleDataset(root).frame("sweep")
    assert len(frame.points) == len(scan())
    assert 0 <= frame.points[:, 3].min() < frame.points[:, 3].max() <= 1
    assert frame.point_fields[4] == "elongation"
    assert frame.labels is None


def test_an_unknown_frame_names_known_ones(root):
    with pytest.raises(NotFoundError, match="sweep"):
        WaymoSampleDataset(root).frame("other")


@pytest.mark.parametrize(("name", "value"), [("intensity_raw", -1.0), ("xyz", np.nan)])
def test_values_that_no_scan_has_are_refused(root, name, value):
    with np.load(root / "sweep.npz") as stored:
        arrays = dict(stored)
    arrays[name].flat[0] = value
    np.savez(root / "sweep.npz", **arrays)
    with pytest.raises(DatasetError, match="sweep.npz"):
        WaymoSampleDataset(root).frame("sweep")


def test_a_folder_without_sweeps_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="found none"):
        WaymoSampleDataset(tmp_path)
