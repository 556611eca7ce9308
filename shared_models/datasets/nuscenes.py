"""nuScenes keyframes, described by a JSON file as MMDetection3D writes them.

    ROOT/frame_info.json          {"metainfo": {"categories"}, "data_list": [{"lidar_points", "instances", "images"}]}
    ROOT/*.pcd.bin                float32 [x y z intensity ring], named by the JSON file
    ROOT/*.jpg                    optional

The relational tables that nuScenes itself ships are not read. LIDAR_TOP looks along its y axis, with x to the right;
points, boxes and camera are turned by 90 degrees once, here. The origin stays at the sensor.
Source of the data: H. Caesar et al., "nuScenes", CVPR 2020.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from shared_models.dataset import Dataset
from shared_models.datasets.frame_listing import only_all, unknown_frame
from shared_models.datasets.plain_labels import plain_labels
from shared_models.datasets.stored_arrays import MAX_FILE_BYTES, matrix, read_json
from shared_models.errors import DatasetError
from shared_models.records import CameraCalibration, Frame, ObjectLabels

INFO_FILE: Final = "frame_info.json"
COLUMNS: Final = 5
MAX_INTENSITY: Final = 255.0
IMAGE_SIZE: Final = (900, 1600)
CAMERA: Final = "CAM_FRONT"
OTHER: Final = "other"  # MMDetection3D numbers objects of no category -1
# Turns (right, ahead, up) into (ahead, left, up).
VEHICLE_FROM_SENSOR: Final = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], dtype=np.float64)


class NuscenesDataset(Dataset):
    """Keyframes, named by their tokens."""

    def __init__(self, root: Path, split: str = "all", with_labels: bool = True) -> None:
        self._root, self._with_labels = Path(root), with_labels
        self._path = self._root / INFO_FILE
        only_all(self._root, split)
        if not self._root.is_dir():
            raise DatasetError(f"{self._root}: the folder is missing")
        content = read_json(self._path)
        try:
            categories = {int(number): str(name) for name, number in content["metainfo"]["categories"].items()}
            self._infos: dict[str, Any] = {str(info["token"]): info for info in content["data_list"]}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetError(f"{self._path}: expected metainfo.categories and data_list with tokens") from error
        self._categories = categories

    @classmethod
    def open(cls, root: Path, split: str = "all") -> Self:
        return cls(root, split)

    @classmethod
    def open_unlabelled(cls, root: Path, split: str = "all") -> Self:
        return cls(root, split, with_labels=False)

    @property
    def frame_ids(self) -> tuple[str, ...]:
        return tuple(self._infos)

    def frame(self, frame_id: str) -> Frame:
        if frame_id not in self._infos:
            raise unknown_frame(self._root, frame_id, self._infos)
        info = self._infos[frame_id]
        try:
            return Frame(
                frame_id=frame_id,
                points=_read_points(self._root / Path(info["lidar_points"]["lidar_path"]).name),
                point_fields=("x", "y", "z", "intensity", "ring"),
                timestamp_ns=round(float(info["timestamp"]) * 1e9),
                labels=self._labels(info["instances"]) if self._with_labels else None,
                camera=self._camera(info["images"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DatasetError(f"{self._path}: frame {frame_id} lacks or misspells {error}") from error

    def _labels(self, instances: list[Any]) -> ObjectLabels:
        rows = [instance["bbox_3d"] for instance in instances]
        boxes = matrix(self._path, "bbox_3d", rows, (len(rows), 7)) if rows else np.empty((0, 7))
        turned = boxes.copy()
        turned[:, :3] = boxes[:, :3] @ VEHICLE_FROM_SENSOR.T
        turned[:, 6] = (boxes[:, 6] - math.pi / 2 + math.pi) % (2 * math.pi) - math.pi
        names = [self._categories.get(int(instance["bbox_label_3d"]), OTHER) for instance in instances]
        return plain_labels(turned.astype(np.float32), names)

    def _camera(self, images: dict[str, Any]) -> CameraCalibration | None:
        if CAMERA not in images:
            return None
        inner = matrix(self._path, "cam2img", images[CAMERA]["cam2img"], (3, 3))
        camera_from_sensor = matrix(self._path, "lidar2cam", images[CAMERA]["lidar2cam"], (4, 4))
        sensor_from_vehicle = np.eye(4)
        sensor_from_vehicle[:3, :3] = VEHICLE_FROM_SENSOR.T
        return CameraCalibration(
            image_from_camera=np.concatenate([inner, np.zeros((3, 1))], axis=1),
            camera_from_lidar=camera_from_sensor @ sensor_from_vehicle,
            image_size=IMAGE_SIZE,
        )


def camera_image_path(root: Path, frame_id: str) -> Path | None:
    """Where the front camera's image of a frame lies."""
    for info in read_json(root / INFO_FILE)["data_list"]:
        if info["token"] == frame_id and CAMERA in info["images"]:
            return root / Path(info["images"][CAMERA]["img_path"]).name
    return None


def _read_points(path: Path) -> NDArray[np.float32]:
    """(N, 5) float32 [x y z intensity ring], turned to x forward, y left."""
    try:
        size = path.stat().st_size
        if size % (4 * COLUMNS) or size > MAX_FILE_BYTES:
            raise DatasetError(
                f"{path}: expected a multiple of {4 * COLUMNS} bytes, at most {MAX_FILE_BYTES}; got {size}"
            )
        stored = np.frombuffer(path.read_bytes(), dtype="<f4").reshape(-1, COLUMNS)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: the scan is missing") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    is_whole = bool(np.isfinite(stored).all()) and (
        not len(stored) or (stored[:, 3].min() >= 0 and stored[:, 3].max() <= MAX_INTENSITY)
    )
    if not is_whole:
        raise DatasetError(f"{path}: expected finite numbers and intensities 0 to {MAX_INTENSITY:g}; is this a scan?")
    points = stored.astype(np.float32)
    points[:, 0], points[:, 1] = stored[:, 1], -stored[:, 0]
    points[:, 3] /= MAX_INTENSITY
    return points
