from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from shared_models.datasets import open_dataset
from shared_models.datasets.nuscenes import NuscenesDataset, camera_image_path
from shared_models.errors import DatasetError
from shared_models.geometry.boxes import points_in_boxes_mask
from tests.sample_folders import BOXES, scan, write_nuscenes


@pytest.fixture
def root(tmp_path):
    return write_nuscenes(tmp_path / "nuscenes")


def test_the_sensors_axes_become_the_vehicles(root):
    frame = NuscenesDataset(root).frame("abc")
    np.testing.assert_array_equal(frame.points[:, :3], scan())
    np.testing.assert_allclose(frame.labels.boxes, BOXES, atol=1e-6)
    assert frame.point_fields[4] == "ring"
    assert frame.labels.class_names == ("car", "other")
    assert frame.timestamp_ns == 2_500_000_000
    assert camera_image_path(root, "abc") == root / "front.jpg"
    assert camera_image_path(root, "unknown") is None


def test_the_camera_sees_what_is_ahead(root):
    camera = NuscenesDataset(root).frame("abc").camera
    np.testing.assert_allclose((camera.camera_from_lidar @ [10, 2, 1, 1])[:3], [-2, -1, 10])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["data_list"][0].pop("instances"), "instances"),
        (lambda c: c["data_list"][0]["instances"][0].update(bbox_3d=[1, 2]), "bbox_3d"),
        (lambda c: c["data_list"][0]["images"]["CAM_FRONT"].update(cam2img="no"), "cam2img"),
    ],
)
def test_damaged_information_is_refused(root, change, message):
    path = root / "frame_info.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=message):
        NuscenesDataset(root).frame("abc")


def test_what_is_no_information_is_refused(root):
    (root / "frame_info.json").write_text("{\n oh")
    with pytest.raises(DatasetError, match=r"frame_info.json:2"):
        NuscenesDataset(root)
    (root / "frame_info.json").write_text("[]")
    with pytest.raises(DatasetError, match="metainfo"):
        NuscenesDataset(root)


@pytest.mark.parametrize("content", [b"abc", np.full(5, np.nan, "<f4").tobytes(), np.full(5, 900, "<f4").tobytes()])
def test_a_damaged_scan_is_refused(root, content):
    (root / "scan.pcd.bin").write_bytes(content)
    with pytest.raises(DatasetError, match="scan.pcd.bin"):
        NuscenesDataset(root).frame("abc")


@pytest.mark.data
def test_real_boxes_hold_the_points_that_nuscenes_counted(shared_data):
    root = shared_data("nuscenes_frame")
    dataset = NuscenesDataset(root)
    (frame,) = dataset
    (info,) = json.loads((root / "frame_info.json").read_text())["data_list"]
    counted = np.array([instance["num_lidar_pts"] for instance in info["instances"]])
    xyz = torch.from_numpy(np.ascontiguousarray(frame.points[:, :3]))
    found = points_in_boxes_mask(xyz, torch.from_numpy(frame.labels.boxes)).sum(0).numpy()
    assert (found == counted).mean() > 0.85


def test_labels_that_nobody_asked_for_are_not_read(root):
    content = json.loads((root / "frame_info.json").read_text())
    content["data_list"][0]["instances"][0]["bbox_3d"] = [1, 2]
    (root / "frame_info.json").write_text(json.dumps(content))
    (frame,) = open_dataset("nuscenes", root, with_labels=False)
    assert frame.labels is None
    assert len(frame.points)
