from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from server.evaluation.kitti_folders import read_folders
from shared_models.errors import DatasetError

LABEL = "Car 0.10 1 -1.57 562 180 678 270 1.6 2.0 4.0 0.5 1.6 12.0 -1.57\n"
REGION = "DontCare -1 -1 -10 500 170 520 190 -1 -1 -1 -1000 -1000 -1000 -10\n"
DETECTION = "Car -1 -1 -10 562 180 678 270 1.6 2.0 4.0 0.5 1.6 12.0 -1.57 7.25\n"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    labels, detections = tmp_path / "labels", tmp_path / "detections"
    for folder in (labels, detections):
        folder.mkdir()
    for number in (0, 3):
        (labels / f"{number:06d}.txt").write_text(LABEL + REGION)
        (detections / f"{number:06d}.txt").write_text(DETECTION if number else "")
    return labels, detections


def test_files_are_read_as_they_are(folders) -> None:
    seen = []
    first, second = read_folders(*folders, progress=lambda *counts: seen.append(counts))
    assert (first.frame_id, second.frame_id) == ("000000", "000003")
    assert seen == [(1, 2), (2, 2)]
    assert (len(first.truth), len(first.detections), len(second.detections)) == (1, 0, 1)
    np.testing.assert_allclose(second.truth.boxes, [[12, -0.5, -0.8, 4, 2, 1.6, 1.57 - np.pi / 2]])
    assert second.truth.image_boxes.tolist() == [[562, 180, 678, 270]]
    assert (second.truth.occlusion[0], second.truth.truncation[0]) == (1, 0.1)
    assert second.truth.image_only_boxes.tolist() == [[500, 170, 520, 190]]
    assert second.detections.scores.tolist() == [7.25]  # any range is allowed in KITTI's files
    assert np.isnan(second.detections.alpha_rad).all()
    assert second.has_image_boxes


def test_a_missing_detection_file_is_an_error_unless_it_is_allowed(folders) -> None:
    labels, detections = folders
    (detections / "000003.txt").unlink()
    with pytest.raises(DatasetError, match=r"1 are missing, first 000003.txt; .*--allow-missing"):
        read_folders(labels, detections)
    frames = read_folders(labels, detections, allow_missing=True)
    assert [len(frame.detections) for frame in frames] == [0, 0]


def test_a_detection_file_without_labels_is_left_out(folders) -> None:
    (folders[1] / "000009.txt").write_text(DETECTION)
    assert len(read_folders(*folders)) == 2


def test_what_is_wrong_is_named(folders, tmp_path: Path) -> None:
    labels, detections = folders
    (detections / "000003.txt").write_text(LABEL)
    with pytest.raises(DatasetError, match=r"000003.txt: frame 000003: expected a score in the last column.*Car"):
        read_folders(labels, detections)
    (detections / "000003.txt").write_text("Car 1 2\n")
    with pytest.raises(DatasetError, match=r"000003.txt:1: expected 15 columns"):
        read_folders(labels, detections)
    with pytest.raises(DatasetError, match=r"nowhere: expected a folder"):
        read_folders(labels, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="found none"):
        read_folders(tmp_path / "empty", detections)
