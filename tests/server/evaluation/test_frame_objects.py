"""Frames and detections of the project, compared with the same as KITTI's text files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from server.evaluation.frame_objects import evaluated_frame, points_inside
from server.evaluation.kitti import evaluate_kitti
from server.evaluation.kitti_folders import read_folders
from shared_models.datasets import open_dataset
from shared_models.datasets.kitti_detections import read_detections
from shared_models.errors import InvalidValueError
from shared_models.records import Detections, Frame, ObjectLabels
from tests.conftest import MakeKitti

CAR = [12.0, 0.0, -0.8, 4.0, 2.0, 1.6, 0.0]  # as `KITTI_LABELS` has it, in the LiDAR frame


def detections(*boxes: list[float], name: str = "Car") -> Detections:
    count = len(boxes)
    return Detections(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(count, 7),
        scores=torch.linspace(0.9, 0.5, count),
        labels=torch.zeros(count, dtype=torch.int64),
        class_names=(name,),
    )


@pytest.fixture
def frame(make_kitti: MakeKitti) -> Frame:
    return open_dataset("kitti", make_kitti()).frame("training-000000")


def test_labels_and_detections_in_the_cameras_frame(frame: Frame) -> None:
    made = evaluated_frame(frame, detections(CAR))
    # The camera of the folder stands in the LiDAR's place and looks along its x axis.
    np.testing.assert_allclose(made.truth.boxes, [CAR], atol=1e-3)  # the file gives -1.57 for -pi / 2
    np.testing.assert_allclose(made.detections.boxes, [CAR], atol=1e-6)
    assert made.truth.image_boxes.tolist() == [[562, 180, 678, 270]]  # the annotator's
    # 700 pixels focal length; the nearest face is 10 m away, 2 m wide, from 1.6 m below the camera to its height.
    np.testing.assert_allclose(made.detections.image_boxes, [[550, 187, 690, 299]], atol=1e-4)
    np.testing.assert_allclose(made.detections.alpha_rad, [-np.pi / 2], atol=1e-6)
    assert made.truth.image_only_boxes.tolist() == [[500, 170, 520, 190]]
    assert made.truth.point_counts.tolist() == points_inside(frame).tolist()
    assert made.found is not None


def test_points_inside_are_counted(frame: Frame) -> None:
    x, y, z = frame.points[:, 0], frame.points[:, 1], frame.points[:, 2]
    expected = int(((np.abs(x - 12) <= 2) & (np.abs(y) <= 1) & (np.abs(z + 0.8) <= 0.8)).sum())
    assert expected > 100
    assert points_inside(frame).tolist() == [expected]


def test_what_the_image_does_not_show_is_too_low_to_count(frame: Frame) -> None:
    """A detection behind the camera and one beside the image are no false alarms."""
    behind, beside = [-12.0, *CAR[1:]], [3.0, 30.0, *CAR[2:]]
    made = evaluated_frame(frame, detections(behind, beside, CAR))
    assert made.detections.image_boxes[:2].tolist() == [[0, 0, 0, 0]] * 2
    report = evaluate_kitti([made]).to_dict()
    assert report["ap_all"]["car"]["3d"] == [100, 100, 100]


def test_detections_are_clipped_to_the_image(frame: Frame) -> None:
    made = evaluated_frame(frame, detections([4.0, 3.0, -0.8, 4.0, 2.0, 1.6, 0.0]))
    left, top, right, bottom = made.detections.image_boxes[0]
    assert (left, bottom) == (0, 374)
    assert 0 < right < 1241
    assert 0 < top < 374


def test_without_a_camera_the_lidar_frame_is_used(frame: Frame) -> None:
    for made in (
        evaluated_frame(replace(frame, camera=None), detections(CAR)),
        evaluated_frame(frame, detections(CAR), use_camera=False),
    ):
        np.testing.assert_array_equal(made.detections.boxes, np.array([CAR], dtype=np.float32).astype(np.float64))
        assert not made.has_image_boxes


def test_class_names_are_mapped(frame: Frame) -> None:
    assert frame.labels is not None
    labels = replace(frame.labels, class_names=("Vehicle",))
    made = evaluated_frame(replace(frame, labels=labels), detections(CAR), {"Vehicle": "Car", "Person": "Pedestrian"})
    assert made.truth.class_names == ("Car",)


def test_labels_without_image_boxes_get_projected_ones(frame: Frame) -> None:
    assert frame.labels is not None
    labels = replace(frame.labels, image_boxes=np.full((1, 4), np.nan, dtype=np.float32))
    made = evaluated_frame(replace(frame, labels=labels), detections())
    np.testing.assert_allclose(made.truth.image_boxes, [[550, 187, 690, 299]], atol=0.2)


def test_an_empty_frame(frame: Frame) -> None:
    none = np.empty((0, 4), dtype=np.float32)
    labels = ObjectLabels(
        boxes=np.empty((0, 7), dtype=np.float32),
        class_names=(),
        image_boxes=none,
        occlusion=np.empty(0, dtype=np.int64),
        truncation=np.empty(0, dtype=np.float32),
        image_only_boxes=none,
    )
    empty = replace(frame, labels=labels, points=frame.points[:0])
    made = evaluated_frame(empty, detections())
    assert (len(made.truth), len(made.detections)) == (0, 0)


def test_an_unlabelled_frame_is_refused(frame: Frame) -> None:
    with pytest.raises(InvalidValueError, match="frame training-000000: expected a labelled frame"):
        evaluated_frame(replace(frame, labels=None), detections())


@pytest.mark.data
def test_real_frames_score_as_their_text_files_do(
    shared_data: Callable[[str], Path], tmp_path: Path, kitti_root: Path
) -> None:
    """The detections of another program on real frames: read as records, and as text."""
    found = shared_data("kitti/detections_mmdet3d")
    dataset = open_dataset("kitti", kitti_root, "val")
    frames = []
    for frame_id in dataset.frame_ids:
        name = f"{frame_id.partition('-')[2]}.txt"
        frame = dataset.frame(frame_id)
        assert frame.camera is not None
        frames.append(evaluated_frame(frame, read_detections(found / name, frame.camera)))
        (tmp_path / name).write_text((kitti_root / "training/label_2" / name).read_text())
    record = evaluate_kitti(frames)
    text = evaluate_kitti(read_folders(tmp_path, found))
    assert record.to_dict()["objects"] == text.to_dict()["objects"]
    for one, other in zip(record.scores, text.scores, strict=True):
        assert (one.ap_r40, one.ap_all) == pytest.approx((other.ap_r40, other.ap_all), abs=0.01, nan_ok=True)
    assert record.score("Car", "3d", "moderate").ap_all > 50
