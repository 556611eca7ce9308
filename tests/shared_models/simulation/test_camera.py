from __future__ import annotations

import numpy as np
import pytest

from shared_models.simulation.viewpoint import project


@pytest.fixture(scope="module")
def frame(make_frame):
    return make_frame(4, image=True)


def test_pictures_have_the_cameras_size(frame):
    assert frame.image.colour.shape == (*frame.camera.image_size, 3)
    assert frame.image.depth_m.shape == frame.camera.image_size
    assert 40 < frame.image.colour.mean() < 220
    assert frame.image.colour.std() > 20


def test_lidar_and_camera_see_the_same_scene(frame):
    """Most points fall on pixels of their own class, object and depth; parallax and glass take the rest."""
    pixels, depth = project(frame.points[:, :3], frame.camera)
    u, v = np.floor(pixels).astype(int).T
    assert (frame.image.semantic[v, u] == frame.semantic).mean() > 0.9
    assert (frame.image.instance[v, u] == frame.instance).mean() > 0.93
    assert (np.abs(frame.image.depth_m[v, u] - depth) < 0.05 * depth + 0.1).mean() > 0.85


def test_image_boxes_hold_their_objects_pixels(frame):
    rows, columns = np.indices(frame.camera.image_size)
    shown = 0
    for (left, top, right, bottom), track_id in zip(frame.labels.image_boxes, frame.labels.track_ids, strict=True):
        own = frame.image.instance == track_id
        shown += own.any()
        assert (columns[own] >= left - 3).all()
        assert (columns[own] <= right + 3).all()
        assert (rows[own] >= top - 3).all()
        assert (rows[own] <= bottom + 3).all()
    assert shown >= 0.8 * len(frame.labels)


def test_night_is_darker(make_frame, frame):
    assert make_frame(4, image=True, weather="night").image.colour.mean() < 0.5 * frame.image.colour.mean()
