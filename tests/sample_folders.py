"""Small folders in the forms that the readers of real samples expect, written from a seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

BOXES = np.array([[12, 2, 0.8, 4, 2, 1.6, 0.1], [20, -4, 0.9, 0.6, 0.6, 1.7, 0]], dtype=np.float32)


def scan(points: int = 400) -> np.ndarray:
    """(N, 3) float32 in x forward, y left, z up: flat ground 5 m and more away, and a cluster in the first box."""
    generator = np.random.default_rng(0)
    azimuth, distance = generator.uniform(-np.pi, np.pi, points), generator.uniform(5, 40, points)
    ground = np.stack([distance * np.cos(azimuth), distance * np.sin(azimuth), np.zeros(points)], axis=1)
    car = generator.uniform([11, 1.5, 0.2], [13, 2.5, 1.5], size=(50, 3))
    return np.concatenate([ground, car]).astype(np.float32)


def write_pandaset(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    points = scan()
    for name in ("00", "01"):
        np.savez(
            root / f"lidar_{name}.npz",
            points=np.concatenate([points, points[:5] + 100]),
            intensity=np.arange(len(points) + 5, dtype=np.uint8),
            sensor=np.repeat([0, 1], [len(points), 5]).astype(np.uint8),
            boxes=np.concatenate([BOXES, BOXES[:1]]),
            labels=np.array(["Car", "Pedestrian", "Car"]),
            sensor_id=np.array([0, -1, 1], dtype=np.int8),
            world_from_lidar=np.eye(4),
            timestamp=np.float64(1.5),
        )
    camera = root / "front_camera"
    camera.mkdir()
    # world x right, y down, z forward for the camera: it looks along the world's x axis
    heading = dict(zip("wxyz", (0.5, -0.5, 0.5, -0.5), strict=True))
    pose = {"position": {"x": 0, "y": 0, "z": 1.5}, "heading": heading}
    (camera / "poses.json").write_text(json.dumps([pose, pose]))
    (camera / "intrinsics.json").write_text(json.dumps({"fx": 1900, "fy": 1900, "cx": 960, "cy": 540}))
    return root


def write_nuscenes(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    points = scan()
    stored = np.zeros((len(points), 5), dtype="<f4")
    stored[:, :3] = np.stack([-points[:, 1], points[:, 0], points[:, 2]], axis=1)  # x right, y ahead
    stored[:, 3] = np.arange(len(points)) % 256
    stored.tofile(root / "scan.pcd.bin")
    turned = BOXES.astype(np.float64)
    turned[:, :3] = np.stack([-BOXES[:, 1], BOXES[:, 0], BOXES[:, 2]], axis=1)
    turned[:, 6] += np.pi / 2
    camera_from_sensor = [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    info = {
        "token": "abc",
        "timestamp": 2.5,
        "lidar_points": {"lidar_path": "scan.pcd.bin"},
        "instances": [
            {"bbox_3d": box.tolist(), "bbox_label_3d": label} for box, label in zip(turned, (0, -1), strict=True)
        ],
        "images": {
            "CAM_FRONT": {
                "img_path": "front.jpg",
                "cam2img": [[1200, 0, 800], [0, 1200, 450], [0, 0, 1]],
                "lidar2cam": camera_from_sensor,
            }
        },
    }
    content = {"metainfo": {"categories": {"car": 0, "pedestrian": 7}}, "data_list": [info]}
    (root / "frame_info.json").write_text(json.dumps(content))
    return root


def write_waymo(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    points = np.concatenate([scan(), [[1.0, 0.5, 0.5]]]).astype(np.float32)  # the last lies inside the vehicle
    intensity = np.linspace(0, 900, len(points), dtype=np.float32)
    np.savez(root / "sweep.npz", xyz=points, intensity_raw=intensity, elongation=np.zeros_like(intensity))
    return root


def write_argoverse2(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    points = scan()
    np.savez(
        root / "log_315966265259836000.npz",
        points=np.concatenate([points, np.full((len(points), 1), 255, np.float32)], axis=1),
        laser_number=(np.arange(len(points)) % 64).astype(np.uint8),
        boxes=np.concatenate([BOXES, np.zeros((2, 1), np.float32)], axis=1),
        categories=np.array(["REGULAR_VEHICLE", "PEDESTRIAN"]),
    )
    return root


WRITERS: dict[str, Callable[[Path], Path]] = {
    "argoverse2": write_argoverse2,
    "nuscenes": write_nuscenes,
    "pandaset": write_pandaset,
    "waymo_sample": write_waymo,
}


def small_folders(folder: Path) -> dict[str, Callable[[], Path]]:
    """By dataset name: writes its small folder below `folder` and gives its root."""
    return {name: partial(write, folder / name) for name, write in WRITERS.items()}
