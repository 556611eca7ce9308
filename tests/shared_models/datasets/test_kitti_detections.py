from __future__ import annotations

import numpy as np
import pytest

from shared_models.datasets.kitti import KittiDataset
from shared_models.datasets.kitti_detections import read_detections
from shared_models.datasets.kitti_export import detections_to_kitti_lines
from shared_models.errors import DatasetError

LINES = (
    "Pedestrian -1 -1 0.0 600 170 620 220 1.70 0.60 0.80 1.00 1.60 15.00 0.00 0.40\n"
    "Car -1 -1 -1.57 562 180 678 270 1.60 2.00 4.00 0.00 1.60 12.00 -1.57 0.90\n"
)


@pytest.fixture
def camera(make_kitti):
    return KittiDataset(make_kitti()).frame("training-000000").camera


def test_best_score_first_and_boxes_in_the_lidar_frame(tmp_path, camera):
    path = tmp_path / "detections.txt"
    path.write_text(LINES)
    found = read_detections(path, camera)
    assert [found.class_names[k] for k in found.labels.tolist()] == ["Car", "Pedestrian"]
    np.testing.assert_allclose(found.boxes[0].numpy(), [12, 0, -0.8, 4, 2, 1.6, 0], atol=1e-3)
    again = detections_to_kitti_lines(found, camera)
    assert [line.split()[0] for line in again] == ["Car", "Pedestrian"]


def test_an_empty_file_is_no_detection(tmp_path, camera):
    path = tmp_path / "detections.txt"
    path.write_text("")
    assert len(read_detections(path, camera)) == 0


@pytest.mark.parametrize("text", [LINES.replace(" 0.90", ""), LINES.replace("0.90", "7.5")])
def test_a_missing_or_wrong_score_is_refused(tmp_path, camera, text):
    path = tmp_path / "detections.txt"
    path.write_text(text)
    with pytest.raises(DatasetError, match="score"):
        read_detections(path, camera)
