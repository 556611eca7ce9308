from __future__ import annotations

import numpy as np
import pytest

from shared_models.records import CameraCalibration
from shared_models.visualisation.camera_view import box_edges


@pytest.fixture
def camera() -> CameraCalibration:
    camera_from_lidar = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
    image_from_camera = np.array([[100, 0, 50, 0], [0, 100, 50, 0], [0, 0, 1, 0]], dtype=np.float64)
    return CameraCalibration(
        image_from_camera=image_from_camera, camera_from_lidar=camera_from_lidar, image_size=(100, 100)
    )


def test_a_box_ahead_has_twelve_edges_where_they_belong(camera):
    (edges,) = box_edges(np.array([[10, 0, 0, 2, 2, 2, 0]], dtype=np.float32), camera)
    assert len(edges) == 12
    pixels = np.concatenate(edges)
    np.testing.assert_allclose([pixels.min(), pixels.max()], [50 - 100 / 9, 50 + 100 / 9])


def test_edges_are_cut_in_front_of_the_camera(camera):
    (edges,) = box_edges(np.array([[0, 3, 0, 10, 2, 2, 0]], dtype=np.float32), camera)
    assert 0 < len(edges) < 12
    assert np.isfinite(np.concatenate(edges)).all()
    # what is cut at 0.3 m, 4 m to the left and 1 m up or down
    assert np.concatenate(edges)[:, 0].min() == pytest.approx(50 - 100 * 4 / 0.3)


def test_a_box_behind_has_no_edges(camera):
    assert box_edges(np.array([[-10, 0, 0, 2, 2, 2, 0]], dtype=np.float32), camera) == [[]]
    assert box_edges(np.empty((0, 7), dtype=np.float32), camera) == []
