from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from shared_models.datasets.kitti import KittiConfig, KittiDataset
from shared_models.datasets.kitti_labels import camera_boxes, lidar_boxes, read_labels, read_objects
from shared_models.errors import DatasetError
from shared_models.records import CameraCalibration

LINE = "Car 0.00 0 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57"


@pytest.fixture
def camera() -> CameraCalibration:
    """A camera half a metre ahead of the LiDAR, looking along its x axis."""
    camera_from_lidar = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, -0.5], [0, 0, 0, 1]], dtype=np.float64)
    image_from_camera = np.array([[700, 0, 600, 0], [0, 700, 180, 0], [0, 0, 1, 0]], dtype=np.float64)
    return CameraCalibration(
        image_from_camera=image_from_camera, camera_from_lidar=camera_from_lidar, image_size=(375, 1242)
    )


def test_a_box_by_hand(tmp_path, camera):
    path = tmp_path / "000001.txt"
    path.write_text(LINE)
    labels = read_labels(path, camera)
    expected = [58.99, 16.53, -2.39 + 1.67 / 2, 3.69, 1.87, 1.67, -1.57 - math.pi / 2]
    np.testing.assert_allclose(labels.boxes, [expected], atol=1e-5)
    np.testing.assert_allclose(labels.image_boxes, [[387.63, 181.54, 423.81, 203.12]], atol=1e-4)


def test_yaw_is_wrapped(camera, tmp_path):
    path = tmp_path / "000001.txt"
    path.write_text(LINE.replace(" 1.57", " 3.10"))
    assert -math.pi <= read_labels(path, camera).boxes[0, 6] < math.pi


def test_an_empty_file_is_a_frame_without_objects(tmp_path, camera):
    path = tmp_path / "000001.txt"
    path.write_text("")
    labels = read_labels(path, camera)
    assert labels.boxes.shape == (0, 7)
    assert labels.image_only_boxes.shape == (0, 4)


def test_there_and_back_through_a_line(tmp_path):
    path = tmp_path / "000001.txt"
    path.write_text(f"{LINE}\n{LINE} 0.25\n")
    objects = read_objects(path)
    assert [o.score for o in objects] == [None, 0.25]
    path.write_text("\n".join(o.line() for o in objects))
    assert read_objects(path) == objects


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Car 0 0", "expected 15 columns (one more with a score), got 3"),
        (f"{LINE} 0.5 7", "expected 15 columns (one more with a score), got 17"),
        (LINE.replace("2.39", "nan"), "expected a finite number for y, got 'nan'"),
        (LINE.replace("58.49", "5x.49"), "expected a finite number for z, got '5x.49'"),
        (LINE.replace("3.69", "0"), "expected sizes above 0 m"),
        (LINE.replace("0.00 0 ", "0.00 7 "), "expected truncation 0 to 1 and occlusion 0 to 3"),
        (LINE.replace("0.00 0 ", "1.50 0 "), "expected truncation 0 to 1 and occlusion 0 to 3"),
        (LINE.replace("387.63", "487.63"), "expected an image box with left <= right"),
    ],
)
def test_a_malformed_line_is_refused_with_path_and_line(tmp_path, camera, line, message):
    path = tmp_path / "000001.txt"
    path.write_text(f"{LINE}\n\n{line}\n")
    with pytest.raises(DatasetError, match=re.escape(f"{path}:3: {message}")):
        read_labels(path, camera)


@pytest.mark.data
def test_real_labels_survive_the_way_to_the_lidar_frame_and_back(kitti_root: Path):
    dataset = KittiDataset(kitti_root, KittiConfig(split="training"))
    for frame_id in dataset.frame_ids:
        camera = dataset.frame(frame_id).camera
        objects = [o for o in read_objects(kitti_root / "training/label_2" / f"{frame_id[-6:]}.txt") if o.score is None]
        objects = [o for o in objects if o.kind != "DontCare"]
        assert camera is not None
        bottoms, sizes, rotations = camera_boxes(lidar_boxes(objects, camera), camera)
        np.testing.assert_allclose(bottoms, [o.bottom_centre_m for o in objects], atol=2e-5)
        np.testing.assert_allclose(sizes, [o.size_m for o in objects], atol=1e-6)
        np.testing.assert_allclose(np.cos(rotations), np.cos([o.rotation_y_rad for o in objects]), atol=1e-6)


@pytest.mark.data
def test_detections_of_another_program_are_read(kitti_root: Path):
    paths = sorted((kitti_root / "detections_mmdet3d").glob("*.txt"))
    objects = [o for path in paths for o in read_objects(path)]
    assert len(paths) == 12
    assert all(o.score is not None and 0 <= o.score <= 1 for o in objects)
