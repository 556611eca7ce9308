from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from shared_models.datasets import open_dataset
from shared_models.datasets.kitti import KittiConfig, KittiDataset, read_scan
from shared_models.datasets.kitti_calibration import camera_view
from shared_models.errors import ConfigError, DatasetError, NotFoundError


def test_lists_every_scan_of_both_folders(make_kitti):
    dataset = open_dataset("kitti", make_kitti(training=2, testing=1))
    assert dataset.frame_ids == ("training-000000", "training-000001", "testing-000000")


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", ("training-000000", "training-000002")),
        ("val", ("training-000001",)),
        ("test", ("testing-000000",)),
        ("training", ("training-000000", "training-000001", "training-000002")),
        ("testing", ("testing-000000",)),
        ("train+test", ("training-000000", "training-000002", "testing-000000")),
        ("train+training", ("training-000000", "training-000002", "training-000001")),
    ],
)
def test_splits(make_kitti, split, expected):
    assert open_dataset("kitti", make_kitti(training=3), split).frame_ids == expected


def test_a_frame_has_points_labels_and_camera(make_kitti):
    frame = KittiDataset(make_kitti()).frame("training-000000")
    assert frame.points.dtype == np.float32
    assert frame.labels is not None
    assert frame.camera is not None
    assert frame.labels.class_names == ("Car",)
    # label: size h 1.6, w 2, l 4, bottom centre 12 m ahead and 1.6 m below the camera, rotation_y -pi/2 (driving ahead)
    np.testing.assert_allclose(frame.labels.boxes, [[12, 0, -0.8, 4, 2, 1.6, 0]], atol=1e-3)
    np.testing.assert_allclose(frame.labels.image_only_boxes, [[500, 170, 520, 190]])
    assert frame.camera.image_size == (375, 1242)


def test_test_frames_have_no_labels(make_kitti):
    assert KittiDataset(make_kitti()).frame("testing-000000").labels is None


def test_labels_that_nobody_asked_for_are_not_read(make_kitti):
    root = make_kitti()
    (root / "training/label_2/000000.txt").write_text("Car nonsense\n")
    with pytest.raises(DatasetError, match="000000.txt:1"):
        open_dataset("kitti", root).frame("training-000000")
    frame = open_dataset("kitti", root, with_labels=False).frame("training-000000")
    assert frame.labels is None
    assert len(frame.points)


def test_full_keeps_what_the_camera_does_not_see(make_kitti):
    root = make_kitti()
    behind = np.array([[-5, 0, -1, 0.5], [10, 0, -1, 0.5]], dtype="<f4")
    behind.tofile(root / "training/velodyne/000000.bin")
    assert len(KittiDataset(root, KittiConfig(points="full")).frame("training-000000").points) == 2
    np.testing.assert_array_equal(KittiDataset(root).frame("training-000000").points, behind[1:])


def test_reduced_reads_only_its_own_folder(make_kitti):
    root = make_kitti()
    assert len(KittiDataset(root, KittiConfig(points="reduced"))) == 0
    (root / "training/velodyne_reduced").mkdir()
    np.zeros((3, 4), dtype="<f4").tofile(root / "training/velodyne_reduced/000001.bin")
    dataset = KittiDataset(root, KittiConfig(points="reduced"))
    assert dataset.frame_ids == ("training-000001",)
    assert dataset.frame("training-000001").points.shape == (3, 4)


def test_an_empty_scan_is_a_frame(make_kitti):
    root = make_kitti()
    (root / "training/velodyne/000000.bin").write_bytes(b"")
    assert KittiDataset(root).frame("training-000000").points.shape == (0, 4)


def test_image_size_comes_from_the_png_header(make_kitti):
    root = make_kitti()
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 1224, 370)
    (root / "training/image_2").mkdir()
    (root / "training/image_2/000000.png").write_bytes(header)
    camera = KittiDataset(root).frame("training-000000").camera
    assert camera is not None
    assert camera.image_size == (370, 1224)


def test_a_truncated_image_is_refused(make_kitti):
    root = make_kitti()
    (root / "training/image_2").mkdir()
    (root / "training/image_2/000000.png").write_bytes(b"\x89PNG")
    with pytest.raises(DatasetError, match=r"image_2/000000\.png: expected a PNG image"):
        KittiDataset(root).frame("training-000000")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0" * 33, r"000000\.bin: expected a multiple of 16 bytes, .* got 33; the scan is cut short"),
        (struct.pack("<8f", 1, 2, 3, 0.5, 1, float("nan"), 3, 0.5), r"000000\.bin: expected finite numbers.*point 1"),
        (struct.pack("<4f", 1e30, 2, 3, 0.5), r"000000\.bin: expected coordinates within 1000 m"),
        (struct.pack("<4f", 1, 2, 3, 255), r"000000\.bin: .*intensities 0.5 to|intensities 255 to 255"),
    ],
)
def test_a_malformed_scan_is_refused_with_its_path(make_kitti, content, message):
    root = make_kitti()
    (root / "training/velodyne/000000.bin").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        KittiDataset(root).frame("training-000000")


@pytest.mark.parametrize("missing", ["velodyne/000000.bin", "calib/000000.txt", "label_2/000000.txt"])
def test_a_missing_file_is_named(make_kitti, missing):
    root = make_kitti()
    dataset = KittiDataset(root)
    (root / "training" / missing).unlink()
    with pytest.raises(DatasetError, match=f"training/{missing}.*missing"):
        dataset.frame("training-000000")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="cannot be read"):
        read_scan(tmp_path)


def test_an_unknown_frame_names_the_form_of_known_ones(make_kitti):
    with pytest.raises(NotFoundError, match="no frame '000000'.*named like 'training-000000'"):
        KittiDataset(make_kitti()).frame("000000")


def test_a_frame_id_does_not_leave_the_folder(make_kitti):
    with pytest.raises(NotFoundError):
        KittiDataset(make_kitti()).frame("training-../../training/velodyne/000000")


def test_an_unknown_split_lists_the_known_ones(make_kitti):
    with pytest.raises(DatasetError, match="known: all, training, testing, test, train, val"):
        KittiDataset(make_kitti(), KittiConfig(split="validation"))


@pytest.mark.parametrize(("text", "line"), [("000000\n../x\n", 2), ("000000\n\n000000\n", 3)])
def test_a_malformed_split_names_path_and_line(make_kitti, text, line):
    root = make_kitti()
    (root / "ImageSets/train.txt").write_text(text)
    with pytest.raises(DatasetError, match=rf"train\.txt:{line}: "):
        KittiDataset(root, KittiConfig(split="train"))


def test_a_folder_that_is_not_kitti_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="holds training/ or testing/"):
        KittiDataset(tmp_path)


@pytest.mark.parametrize("wrong", [{"points": "half"}, {"split": "../val"}, {"split": ""}, {"split": "train+"}])
def test_a_wrong_configuration_is_refused(wrong):
    with pytest.raises(ConfigError):
        KittiConfig(**wrong)


@pytest.mark.data
@pytest.mark.parametrize("name", ["000000", "000001", "000002", "000008"])
def test_the_cut_of_the_full_sweep_is_kittis_own_reduced_scan(kitti_root: Path, name):
    full = KittiDataset(kitti_root, KittiConfig(points="full")).frame(f"training-{name}")
    reduced = KittiDataset(kitti_root, KittiConfig(points="reduced")).frame(f"training-{name}")
    assert full.camera is not None
    np.testing.assert_array_equal(full.points[camera_view(full.points, full.camera)], reduced.points)


@pytest.mark.data
def test_every_real_frame_is_read_and_labelled_boxes_hold_points(kitti_root: Path):
    dataset = KittiDataset(kitti_root)
    assert len(dataset) == 45
    counts: dict[str, list[int]] = {}
    for frame in dataset:
        assert len(frame.points) > 10_000
        if frame.labels is None:
            continue
        for kind, box in zip(frame.labels.class_names, frame.labels.boxes, strict=True):
            counts.setdefault(kind, []).append(points_inside(frame.points, box))
    share = {kind: np.mean([n >= 5 for n in numbers]) for kind, numbers in counts.items()}
    assert sum(map(len, counts.values())) == 94  # lines of label_2 that are not DontCare
    assert share["Car"] >= 0.9
    assert share["Pedestrian"] == share["Cyclist"] == 1


def points_inside(points: np.ndarray, box: np.ndarray) -> int:
    offset = points[:, :3] - box[:3]
    cosine, sine = np.cos(box[6]), np.sin(box[6])
    along, across = offset[:, 0] * cosine + offset[:, 1] * sine, offset[:, 1] * cosine - offset[:, 0] * sine
    return int(((abs(along) < box[3] / 2) & (abs(across) < box[4] / 2) & (abs(offset[:, 2]) < box[5] / 2)).sum())
