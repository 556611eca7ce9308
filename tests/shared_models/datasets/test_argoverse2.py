from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_models.datasets.argoverse2 import Argoverse2Dataset
from shared_models.errors import DatasetError
from shared_models.geometry.boxes import points_in_boxes_mask
from tests.sample_folders import BOXES, scan, write_argoverse2


@pytest.fixture
def root(tmp_path):
    return write_argoverse2(tmp_path / "av2")


def test_points_boxes_and_time(root):
    (frame,) = Argoverse2Dataset(root)
    np.testing.assert_array_equal(frame.points[:, :3], scan())
    assert (frame.points[:, 3] == 1).all()
    np.testing.assert_array_equal(frame.labels.boxes, BOXES)
    assert frame.labels.class_names == ("REGULAR_VEHICLE", "PEDESTRIAN")
    assert frame.timestamp_ns == 315966265259836000


@pytest.mark.parametrize(("name", "change"), [("categories", lambda a: a[:1]), ("points", lambda a: a * 1000)])
def test_damaged_sweeps_are_refused(root, name, change):
    (path,) = root.glob("*.npz")
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays[name] = change(arrays[name])
    np.savez(path, **arrays)
    with pytest.raises(DatasetError, match=path.name):
        list(Argoverse2Dataset(root))


@pytest.mark.data
def test_real_boxes_hold_the_points_that_argoverse_counted(shared_data):
    root = shared_data("av2_frames")
    dataset = Argoverse2Dataset(root)
    for frame in dataset:
        with np.load(root / f"{frame.frame_id}.npz") as stored:
            counted = stored["boxes"][:, 7]
        xyz = torch.from_numpy(np.ascontiguousarray(frame.points[:, :3]))
        found = points_in_boxes_mask(xyz, torch.from_numpy(frame.labels.boxes)).sum(0).numpy()
        np.testing.assert_array_equal(found, counted)
