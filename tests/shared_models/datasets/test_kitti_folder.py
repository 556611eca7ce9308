from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared_models.datasets.camera_images import camera_image, encode_png, read_image
from shared_models.datasets.kitti import KittiConfig, KittiDataset
from shared_models.datasets.kitti_calibration import camera_view
from shared_models.datasets.kitti_folder import KittiFolder, calibration_lines, label_lines
from shared_models.datasets.plain_labels import plain_labels
from shared_models.errors import ConfigError, DatasetError, InvalidValueError
from shared_models.records import Frame


def assert_same_labels(found, expected):
    """Boxes and image boxes to the two decimals of the text; the rest exactly."""
    assert found.class_names == expected.class_names
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1.2e-2)
    np.testing.assert_allclose(found.image_boxes, expected.image_boxes, atol=0.006)
    np.testing.assert_array_equal(found.occlusion, expected.occlusion)
    np.testing.assert_allclose(found.truncation, expected.truncation, atol=0.006)
    np.testing.assert_allclose(found.image_only_boxes, expected.image_only_boxes, atol=0.006)


def export(frames: list[Frame], root: Path, **options) -> Path:
    folder = KittiFolder(root, **options)
    for frame in frames:
        folder.add(frame)
    folder.finish()
    return root


def test_what_is_exported_is_read_back(make_kitti, tmp_path):
    frames = list(KittiDataset(make_kitti(training=3, testing=1), KittiConfig(points="full")))
    root = export(frames, tmp_path / "exported")
    full = KittiDataset(root, KittiConfig(points="full"))
    assert full.frame_ids == tuple(f.frame_id for f in frames)
    for found, expected in zip(full, frames, strict=True):
        np.testing.assert_array_equal(found.points, expected.points)
        np.testing.assert_allclose(found.camera.image_from_camera, expected.camera.image_from_camera, atol=1e-9)
        np.testing.assert_allclose(found.camera.camera_from_lidar, expected.camera.camera_from_lidar, atol=1e-9)
        assert (found.labels is None) == (expected.labels is None)
        if found.labels is not None:
            assert_same_labels(found.labels, expected.labels)
    seen = KittiDataset(root).frame("training-000000").points
    np.testing.assert_array_equal(seen, frames[0].points[camera_view(frames[0].points, frames[0].camera)])


def test_splits_and_the_list_of_frames(make_kitti, tmp_path):
    frames = list(KittiDataset(make_kitti(training=5, testing=1)))
    root = export(frames, tmp_path / "exported", val_share=0.4)
    sizes = {split: len(KittiDataset.open(root, split)) for split in ("train", "val", "trainval", "test")}
    assert sizes == {"train": 3, "val": 2, "trainval": 5, "test": 1}
    rows = (root / "frames.csv").read_text().splitlines()
    assert rows[0] == "folder,number,source frame"
    assert rows[-1] == "testing,000000,testing-000000"


def test_label_lines_have_kittis_fifteen_columns(make_kitti):
    frame = KittiDataset(make_kitti()).frame("training-000000")
    assert label_lines(frame.labels, frame.camera) == [
        "Car 0.00 0 -1.57 562.00 180.00 678.00 270.00 1.60 2.00 4.00 0.00 1.60 12.00 -1.57",
        "DontCare -1 -1 -10 500.00 170.00 520.00 190.00 -1 -1 -1 -1000 -1000 -1000 -10",
    ]


def test_calibration_has_every_standard_key(make_kitti):
    camera = KittiDataset(make_kitti()).frame("training-000000").camera
    keys = {line.partition(":")[0]: len(line.split()) - 1 for line in calibration_lines(camera)}
    expected = {"P0": 12, "P1": 12, "P2": 12, "P3": 12, "R0_rect": 9, "Tr_velo_to_cam": 12, "Tr_imu_to_velo": 12}
    assert keys == expected


def test_image_boxes_are_computed_where_there_are_none_and_hidden_objects_left_out(make_kitti):
    frame = KittiDataset(make_kitti()).frame("training-000000")
    boxes = np.array([[12, 0, -0.8, 4, 2, 1.6, 0], [-12, 0, -0.8, 4, 2, 1.6, 0]], dtype=np.float32)
    (line,) = label_lines(plain_labels(boxes, ["Large Car", "Car"]), frame.camera)
    words = line.split()
    assert words[0] == "Large_Car"
    # front face at 10 m: 620 +- 700 / 10, bottom 1.6 m below the camera
    np.testing.assert_allclose([float(w) for w in words[4:8]], [550, 187, 690, 187 + 700 * 1.6 / 10], atol=0.011)


def test_an_image_goes_along(make_kitti, tmp_path):
    frame = KittiDataset(make_kitti()).frame("training-000000")
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    folder = KittiFolder(tmp_path / "exported")
    assert folder.add(frame, encode_png(image)) == "training/000000"
    folder.finish()
    found = KittiDataset(tmp_path / "exported").frame("training-000000")
    assert found.camera.image_size == (40, 60)
    np.testing.assert_array_equal(camera_image("kitti", tmp_path / "exported", found), image)


def test_what_cannot_be_exported_is_refused(make_kitti, tmp_path):
    frame = KittiDataset(make_kitti()).frame("training-000000")
    folder = KittiFolder(tmp_path / "exported")
    with pytest.raises(InvalidValueError, match="no camera"):
        folder.add(replace(frame, camera=None))
    folder.add(frame, number=7)
    with pytest.raises(InvalidValueError, match="free number"):
        folder.add(frame, number=7)
    with pytest.raises(DatasetError, match="empty folder"):
        KittiFolder(tmp_path / "exported")
    with pytest.raises(ConfigError, match="0 to 1"):
        KittiFolder(tmp_path / "other", val_share=2)


def test_a_damaged_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


@pytest.mark.data
def test_real_labels_are_reproduced_to_their_precision(kitti_root):
    """All columns as KITTI wrote them; its observation angle was measured another way and is 0.05 rad off at most."""
    dataset = KittiDataset(kitti_root, KittiConfig(split="training"))
    for frame in dataset:
        path = kitti_root / "training/label_2" / f"{frame.frame_id[-6:]}.txt"
        expected, found = path.read_text().splitlines(), label_lines(frame.labels, frame.camera)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            words, kitti_words = one.split(), other.split()
            assert words[0] == kitti_words[0]
            numbers, kitti_numbers = np.array(words[1:], float), np.array(kitti_words[1:], float)
            np.testing.assert_allclose(np.delete(numbers, 2), np.delete(kitti_numbers, 2), atol=0.0101)
            assert abs(numbers[2] - kitti_numbers[2]) < 0.051


@pytest.mark.data
def test_real_frames_survive_an_export(kitti_root, tmp_path):
    frames = [KittiDataset(kitti_root).frame(f"training-{n:06d}") for n in (1, 8)]
    root = export(frames, tmp_path / "exported", val_share=0)
    for found, expected in zip(KittiDataset.open(root, "train"), frames, strict=True):
        assert_same_labels(found.labels, expected.labels)
        np.testing.assert_array_equal(found.points, expected.points)
