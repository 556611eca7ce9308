from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from shared_models.datasets.kitti import KittiConfig, KittiDataset
from shared_models.datasets.kitti_export import box_corners, detections_to_kitti_lines
from shared_models.datasets.kitti_labels import read_objects
from shared_models.records import CameraCalibration, Detections

NAMES = ("Car", "Pedestrian", "Cyclist")


def detections(boxes: np.ndarray, labels: list[int] | None = None) -> Detections:
    count = len(boxes)
    return Detections(
        boxes=torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 7),
        scores=torch.linspace(0.9, 0.5, count),
        labels=torch.tensor(labels or [0] * count, dtype=torch.int64),
        class_names=NAMES,
    )


@pytest.fixture
def camera() -> CameraCalibration:
    camera_from_lidar = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
    image_from_camera = np.array([[700, 0, 600, 0], [0, 700, 180, 0], [0, 0, 1, 0]], dtype=np.float64)
    return CameraCalibration(
        image_from_camera=image_from_camera, camera_from_lidar=camera_from_lidar, image_size=(375, 1242)
    )


def test_a_line_by_hand(camera):
    # centre 20 m ahead and 2 m left, 4 x 2 x 1.5 m, driving ahead: front and rear faces at 18 m and 22 m
    lines = detections_to_kitti_lines(detections(np.array([[20, 2, -1, 4, 2, 1.5, 0]]), [2]), camera)
    left, top, right, bottom = 600 - 700 * 3 / 18, 180 + 700 * 0.25 / 22, 600 - 700 * 1 / 22, 180 + 700 * 1.75 / 18
    alpha = -math.pi / 2 - math.atan2(-2, 20)
    numbers = (alpha, left, top, right, bottom, 1.5, 2, 4, -2, 1.75, 20, -math.pi / 2)
    assert lines == [" ".join(["Cyclist", "-1.00", "-1", *(f"{n:.4f}" for n in numbers), "0.900000"])]


def test_what_the_image_does_not_show_is_left_out(camera):
    boxes = np.array([[-20, 0, -1, 4, 2, 1.5, 0], [5, 40, -1, 4, 2, 1.5, 0], [30, 0, -1, 4, 2, 1.5, 0]])
    lines = detections_to_kitti_lines(detections(boxes), camera)
    assert [line.split()[-1] for line in lines] == ["0.500000"]


def test_a_box_around_the_camera_stays_inside_the_image(camera):
    (line,) = detections_to_kitti_lines(detections(np.array([[1, 0, 0, 4, 2, 1.5, 0.3]])), camera)
    left, top, right, bottom = map(float, line.split()[4:8])
    assert 0 <= left < right <= 1241
    assert 0 <= top < bottom <= 374


def test_no_detections_give_no_lines(camera):
    assert detections_to_kitti_lines(detections(np.empty((0, 7))), camera) == []


def test_corners_of_a_turned_box():
    (corners,) = box_corners(np.array([[1, 2, 3, 4, 2, 1, math.pi / 2]], dtype=np.float32))
    np.testing.assert_allclose(corners.min(axis=0), [0, 0, 2.5], atol=1e-6)
    np.testing.assert_allclose(corners.max(axis=0), [2, 4, 3.5], atol=1e-6)


@pytest.mark.data
def test_exported_labels_are_the_labels(kitti_root: Path, tmp_path: Path):
    """Label boxes written as detections come back as the label file has them; image boxes nearly so."""
    dataset = KittiDataset(kitti_root, KittiConfig(split="training"))
    overlaps = []
    for frame_id in dataset.frame_ids:
        frame = dataset.frame(frame_id)
        labels = frame.labels
        assert labels is not None
        assert frame.camera is not None
        keep = [i for i, kind in enumerate(labels.class_names) if kind in NAMES]
        kinds = [NAMES.index(labels.class_names[i]) for i in keep]
        path = tmp_path / f"{frame_id}.txt"
        path.write_text("\n".join(detections_to_kitti_lines(detections(labels.boxes[keep], kinds), frame.camera)))
        original = read_objects(kitti_root / "training/label_2" / f"{frame_id[-6:]}.txt")
        original = [o for o in original if o.kind in NAMES]
        written = read_objects(path)
        assert [o.kind for o in written] == [o.kind for o in original]
        for one, other in zip(written, original, strict=True):
            np.testing.assert_allclose(one.bottom_centre_m, other.bottom_centre_m, atol=1e-3)
            np.testing.assert_allclose(one.size_m, other.size_m, atol=1e-3)
            overlaps.append(iou(one.image_box, other.image_box))
    assert np.median(overlaps) > 0.85


def iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return width * height / (sum(areas) - width * height)
