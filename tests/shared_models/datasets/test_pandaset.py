from __future__ import annotations

import numpy as np
import pytest

from shared_models.datasets.pandaset import PandasetConfig, PandasetDataset
from shared_models.errors import ConfigError, DatasetError, NotFoundError
from tests.sample_folders import BOXES, scan, write_pandaset


@pytest.fixture
def root(tmp_path):
    return write_pandaset(tmp_path / "002")


def test_one_sensor_and_its_annotations_are_read(root):
    frame = PandasetDataset(root).frame("00")
    np.testing.assert_array_equal(frame.points[:, :3], scan())
    assert frame.labels.class_names == ("Car", "Pedestrian")
    np.testing.assert_array_equal(frame.labels.boxes, BOXES)
    assert np.isnan(frame.labels.image_boxes).all()
    assert frame.timestamp_ns == 1_500_000_000


def test_the_other_sensor(root):
    frame = PandasetDataset(root, config=PandasetConfig(sensor=1)).frame("00")
    np.testing.assert_array_equal(frame.points[:, :3], scan()[:5] + 100)
    assert frame.labels.class_names == ("Pedestrian", "Car")
    with pytest.raises(ConfigError, match="0 or 1"):
        PandasetConfig(sensor=2)


def test_the_camera_looks_ahead(root):
    camera = PandasetDataset(root).frame("01").camera
    ahead = camera.camera_from_lidar @ [10, 0, 1.5, 1]
    np.testing.assert_allclose(ahead[:3], [0, 0, 10], atol=1e-9)
    left = camera.camera_from_lidar @ [10, 1, 1.5, 1]
    np.testing.assert_allclose(left[:3], [-1, 0, 10], atol=1e-9)


def test_without_camera_folder_there_is_no_camera(root):
    (root / "front_camera" / "poses.json").unlink()
    assert PandasetDataset(root).frame("00").camera is None


def test_an_unknown_frame_names_known_ones(root):
    with pytest.raises(NotFoundError, match="2 frames are: 00, 01"):
        PandasetDataset(root).frame("77")


@pytest.mark.parametrize("damage", ["cut", "lacks", "shape"])
def test_a_damaged_file_is_refused_with_its_path(root, damage):
    path = root / "lidar_00.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "lacks":
        del arrays["boxes"]
        np.savez(path, **arrays)
    else:
        arrays["intensity"] = arrays["intensity"][:-1]
        np.savez(path, **arrays)
    with pytest.raises(DatasetError, match="lidar_00"):
        PandasetDataset(root).frame("00")


def test_a_camera_file_without_this_frame_is_refused(root):
    (root / "front_camera" / "poses.json").write_text("[]")
    with pytest.raises(DatasetError, match="front_camera"):
        PandasetDataset(root).frame("00")


def test_a_split_is_refused(root):
    with pytest.raises(DatasetError, match="no split 'train'"):
        PandasetDataset.open(root, "train")


@pytest.mark.data
def test_real_boxes_hold_points_and_the_image_fits(shared_data):
    root = shared_data("pandaset_002")
    frame = PandasetDataset(root).frame("30")
    assert 90_000 < len(frame.points) < 120_000
    assert len(frame.labels) == 94
    assert (root / "front_camera" / "30.jpg").is_file()
