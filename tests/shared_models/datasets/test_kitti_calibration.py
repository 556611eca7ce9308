from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from shared_models.datasets.kitti_calibration import camera_view, in_camera, in_lidar, project, read_calibration
from shared_models.errors import DatasetError

GOOD = {
    "P2": "700 0 620 45 0 700 187 -0.3 0 0 1 0.005",
    "R0_rect": "1 0 0 0 1 0 0 0 1",
    "Tr_velo_to_cam": "0 -1 0 0.1 0 0 -1 -0.2 1 0 0 -0.3",
}


def write(path: Path, **changes: str | None) -> Path:
    lines = {**GOOD, **changes}
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items() if value is not None))
    return path


def test_a_point_ahead_lands_where_the_pinhole_puts_it(tmp_path):
    camera = read_calibration(write(tmp_path / "c.txt"), (375, 1242))
    seen = in_camera(np.array([[10.3, -2.0, 1.0]]), camera)
    np.testing.assert_allclose(seen, [[2.1, -1.2, 10.0]])
    pixels, depth_m = project(seen, camera)
    np.testing.assert_allclose(pixels, [[(700 * 2.1 + 620 * 10 + 45) / 10.005, (-700 * 1.2 + 1870 - 0.3) / 10.005]])
    np.testing.assert_allclose(depth_m, [10.0])


def test_there_and_back(tmp_path):
    camera = read_calibration(write(tmp_path / "c.txt"), (375, 1242))
    positions = np.random.default_rng(0).normal(size=(20, 3)) * 30
    np.testing.assert_allclose(in_lidar(in_camera(positions, camera), camera), positions, atol=1e-12)


def test_the_view_ends_at_the_image_and_at_the_camera(tmp_path):
    camera = read_calibration(write(tmp_path / "c.txt"), (375, 1242))
    points = np.array([[20, 0, 0, 0], [-20, 0, 0, 0], [5, 20, 0, 0], [5, 0, 10, 0]], dtype=np.float32)
    assert camera_view(points, camera).tolist() == [True, False, False, False]
    assert camera_view(np.empty((0, 4), dtype=np.float32), camera).shape == (0,)


@pytest.mark.parametrize("key", list(GOOD))
def test_a_missing_key_is_named(tmp_path, key):
    with pytest.raises(DatasetError, match=rf"c\.txt: expected the keys .*missing {key}"):
        read_calibration(write(tmp_path / "c.txt", **{key: None}), (375, 1242))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"R0_rect": "1 0 0 0 1 0 0 0"}, "c.txt:2: expected 9 numbers for R0_rect, got 8"),
        ({"P2": "700 0 620 45 0 700 187 x 0 0 1 0"}, "c.txt:1: expected a finite number for P2, got 'x'"),
        ({"P2": "700 0 620 45 0 700 187 inf 0 0 1 0"}, "c.txt:1: expected a finite number for P2, got 'inf'"),
        ({"R0_rect": "1 0 0 0 2 0 0 0 1"}, "wrong calibration: R0_rect is no rotation"),
        ({"R0_rect": "1 0 0 0 1 0 0 0 -1"}, "wrong calibration: R0_rect is no rotation"),
        ({"Tr_velo_to_cam": "0 -1 0 0 0 0 -1 0 1 0 0.5 0"}, "wrong calibration: Tr_velo_to_cam is no rotation"),
        ({"Tr_velo_to_cam": "1 0 0 0 0 1 0 0 0 0 1 0"}, "wrong calibration: the camera does not look along"),
        ({"Tr_velo_to_cam": "0 -1 0 0 0 0 -1 0 1 0 0 900"}, "wrong calibration: the LiDAR is 900 m from the camera"),
        ({"P2": "0 0 620 45 0 700 187 0 0 0 1 0"}, "wrong calibration: P2 has focal lengths 0 and 700"),
        ({"P2": "700 0 620 45 0 700 187 0 0 0 9 0"}, "wrong calibration: the last row of P2"),
    ],
)
def test_wrong_numbers_are_refused(tmp_path, changes, message):
    with pytest.raises(DatasetError, match=re.escape(message)):
        read_calibration(write(tmp_path / "c.txt", **changes), (375, 1242))


def test_a_line_without_key_is_refused(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("\n1 2 3\n")
    with pytest.raises(DatasetError, match=r"c\.txt:2: expected 'KEY: numbers'"):
        read_calibration(path, (375, 1242))


def test_binary_garbage_is_refused(tmp_path):
    path = tmp_path / "c.txt"
    path.write_bytes(b"P2: 1\n\xff\xfe")
    with pytest.raises(DatasetError, match=r"c\.txt:2: expected text, got the byte 0xff"):
        read_calibration(path, (375, 1242))
