"""Where the pinhole camera sits and what it projects."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared_models.records import CameraCalibration
from shared_models.simulation.sensors import Sensor

Floats = NDArray[np.float64]

IMAGE_SIZE: Final = (375, 1242)  # height and width in pixels: most of KITTI's images
FOCAL_PX: Final = 721.5
CENTRE_PX: Final = (609.5, 172.9)
MOUNT_M: Final = (0.27, 0.06, -0.08)  # ahead, left and above of the LiDAR's optical centre
NEAREST_M: Final = 0.1
MARGIN_PX: Final = 25.0  # around the image, for the motion in the turn


def make_camera(sensor: Sensor) -> CameraCalibration:
    """A forward-looking camera beside this LiDAR, with the opening of KITTI's camera 2."""
    lidar_height = sensor.height_m - sensor.origin_above_ground_m
    position = np.add(MOUNT_M, (0, 0, lidar_height))
    axes = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
    camera_from_lidar = np.eye(4)
    camera_from_lidar[:3, :3] = axes
    camera_from_lidar[:3, 3] = -axes @ position
    image_from_camera = np.array(
        [[FOCAL_PX, 0, CENTRE_PX[0], 0], [0, FOCAL_PX, CENTRE_PX[1], 0], [0, 0, 1.0, 0]], dtype=np.float64
    )
    return CameraCalibration(
        image_from_camera=image_from_camera, camera_from_lidar=camera_from_lidar, image_size=IMAGE_SIZE
    )


def project(positions: NDArray[np.floating], camera: CameraCalibration) -> tuple[Floats, Floats]:
    """(N, 2) pixels and (N,) depth in metres of (N, 3) positions, LiDAR frame; nearer ones are taken at 0.1 m."""
    pose = camera.camera_from_lidar
    seen = positions.astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
    matrix = camera.image_from_camera
    depth = np.maximum(seen[:, 2:], NEAREST_M)
    pixels: Floats = seen[:, :2] / depth * [matrix[0, 0], matrix[1, 1]] + matrix[:2, 2]
    return pixels, seen[:, 2]


def is_in_view(positions: NDArray[np.floating], camera: CameraCalibration, margin_px: float = 0.0) -> NDArray[np.bool_]:
    """(N,) whether (N, 3) positions in the LiDAR frame lie in front of the camera and inside its image."""
    pixels, depth = project(positions, camera)
    height, width = camera.image_size
    u, v = pixels.T
    inside: NDArray[np.bool_] = (depth > NEAREST_M) & (u >= -margin_px) & (u < width + margin_px)
    inside &= (v >= -margin_px) & (v < height + margin_px)
    return inside


def visible_pulses(sensor: Sensor, camera: CameraCalibration) -> NDArray[np.bool_]:
    """(beams, columns) which pulses of a turn can end inside the camera's image, at any range."""
    elevation, azimuth = sensor.elevations_rad()[:, None], sensor.azimuths_rad()[None]
    parts = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation) + 0 * azimuth]
    directions = np.stack(parts, axis=-1).reshape(-1, 3)
    start = np.array([0, 0, sensor.height_m - sensor.origin_above_ground_m])
    inside = np.zeros(len(directions), dtype=np.bool_)
    for distance in (2.0, 4.0, 8.0, 20.0, 120.0):
        inside |= is_in_view(start + distance * directions, camera, MARGIN_PX)
    return inside.reshape(sensor.beams, sensor.columns)
