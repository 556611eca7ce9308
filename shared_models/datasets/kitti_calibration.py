"""KITTI's calibration files: text lines `KEY: numbers`, checked for being the geometry of a car."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared_models.datasets.kitti_text import number, read_lines
from shared_models.errors import DatasetError
from shared_models.records import CameraCalibration

Matrix = NDArray[np.float64]

SHAPES = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}
ROTATION_TOLERANCE = 1e-3  # the files give seven digits
MAX_LEVER_ARM_M = 10.0  # LiDAR and camera stand on one vehicle
MIN_FORWARD_COSINE = 0.7  # camera 2 looks along the LiDAR's x axis, within 45 degrees


def read_calibration(path: Path, image_size: tuple[int, int]) -> CameraCalibration:
    """Camera 2 of one frame, seen from the LiDAR.

    image_size: (height, width) in pixels, which KITTI keeps outside the calibration file.

    Raises:
        DatasetError: a key is missing or malformed (path and line), or the numbers are no camera on a vehicle
            ("wrong calibration").
    """
    found = _read_matrices(path)
    missing = [key for key in SHAPES if key not in found]
    if missing:
        raise DatasetError(f"{path}: expected the keys {', '.join(SHAPES)}; missing {', '.join(missing)}")
    _check_projection(path, found["P2"])
    _check_rotation(path, "R0_rect", found["R0_rect"])
    _check_rotation(path, "Tr_velo_to_cam", found["Tr_velo_to_cam"][:, :3])
    rectified_from_camera, camera_from_lidar = np.eye(4), np.eye(4)
    rectified_from_camera[:3, :3] = found["R0_rect"]
    camera_from_lidar[:3] = found["Tr_velo_to_cam"]
    combined = rectified_from_camera @ camera_from_lidar
    _check_pose(path, combined)
    return CameraCalibration(image_from_camera=found["P2"], camera_from_lidar=combined, image_size=image_size)


def _read_matrices(path: Path) -> dict[str, Matrix]:
    found: dict[str, Matrix] = {}
    for line_number, line in read_lines(path):
        key, colon, rest = line.partition(":")
        if not colon:
            raise DatasetError(f"{path}:{line_number}: expected 'KEY: numbers', got {line[:60]!r}")
        if key not in SHAPES:
            continue
        words, shape = rest.split(), SHAPES[key]
        if len(words) != math.prod(shape):
            raise DatasetError(f"{path}:{line_number}: expected {math.prod(shape)} numbers for {key}, got {len(words)}")
        values = [number(path, line_number, key, word) for word in words]
        found[key] = np.array(values, dtype=np.float64).reshape(shape)
    return found


def _wrong(path: Path, what: str) -> DatasetError:
    return DatasetError(f"{path}: wrong calibration: {what}; check that the file belongs to this frame")


def _check_rotation(path: Path, key: str, rotation: Matrix) -> None:
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if error > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
        raise _wrong(
            path,
            f"{key} is no rotation (largest deviation {error:.3g}, determinant {np.linalg.det(rotation):.3g}; "
            f"expected an orthonormal matrix with determinant 1)",
        )


def _check_projection(path: Path, projection: Matrix) -> None:
    focal_x, focal_y, last = projection[0, 0], projection[1, 1], projection[2, :3]
    if not (10 < focal_x < 1e5 and 10 < focal_y < 1e5):
        raise _wrong(path, f"P2 has focal lengths {focal_x:g} and {focal_y:g} pixels; expected 10 to 100000")
    if np.abs(last - [0, 0, 1]).max() > ROTATION_TOLERANCE:
        raise _wrong(path, f"the last row of P2 begins {last.tolist()}; expected 0 0 1")


def _check_pose(path: Path, camera_from_lidar: Matrix) -> None:
    lever_arm_m = float(np.linalg.norm(camera_from_lidar[:3, 3]))
    if lever_arm_m > MAX_LEVER_ARM_M:
        raise _wrong(path, f"the LiDAR is {lever_arm_m:.3g} m from the camera; expected at most {MAX_LEVER_ARM_M:g} m")
    forward = float(camera_from_lidar[2, 0])
    if forward < MIN_FORWARD_COSINE:
        raise _wrong(
            path,
            f"the camera does not look along the LiDAR's x axis (cosine {forward:.3g}, "
            f"expected at least {MIN_FORWARD_COSINE:g})",
        )


def camera_view(points: NDArray[np.float32], camera: CameraCalibration) -> NDArray[np.bool_]:
    """(N,) bool: points in front of the camera and inside its image.

    points: (N, F) float32 [x y z ...], metres, LiDAR frame.
    """
    pixels, depth_m = project(in_camera(points[:, :3], camera), camera)
    height, width = camera.image_size
    u, v = pixels.T
    inside: NDArray[np.bool_] = (depth_m >= 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    return inside


def in_camera(positions: NDArray[np.floating], camera: CameraCalibration) -> Matrix:
    """(N, 3) float64 [right down forward], metres, rectified camera frame, of (N, 3) positions in the LiDAR frame."""
    moved: Matrix = positions.astype(np.float64) @ camera.camera_from_lidar[:3, :3].T + camera.camera_from_lidar[:3, 3]
    return moved


def in_lidar(positions: NDArray[np.floating], camera: CameraCalibration) -> Matrix:
    """(N, 3) float64 [x y z], metres, LiDAR frame, of (N, 3) positions in the rectified camera frame."""
    lidar_from_camera = np.linalg.inv(camera.camera_from_lidar)
    moved: Matrix = positions.astype(np.float64) @ lidar_from_camera[:3, :3].T + lidar_from_camera[:3, 3]
    return moved


def project(positions: Matrix, camera: CameraCalibration) -> tuple[Matrix, Matrix]:
    """(N, 2) pixels [u v] and (N,) depth in metres of (N, 3) positions in the rectified camera frame."""
    homogeneous = positions @ camera.image_from_camera[:, :3].T + camera.image_from_camera[:, 3]
    depth_m = homogeneous[:, 2] - camera.image_from_camera[2, 3]
    divisor = np.where(np.abs(homogeneous[:, 2]) < 1e-9, 1e-9, homogeneous[:, 2])
    return homogeneous[:, :2] / divisor[:, None], depth_m
