"""Sequences of PandaSet, prepared as one .npz file a LiDAR frame.

    ROOT/lidar_NN.npz                 points, intensity, sensor, boxes, labels, sensor_id, world_from_lidar, timestamp
    ROOT/front_camera/{NN.jpg, poses.json, intrinsics.json}      optional

The LiDAR frame has its origin near the ground under the vehicle. PandaSet itself ships pickled tables, which are not
read here: unpickling runs code. Objects that both sensors saw at different moments are annotated once for each
(`sensor_id` 0 and 1); those of the sensor that is not read are left out.
Source of the data: P. Xiao et al., "PandaSet", ITSC 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from shared_models.dataset import Dataset
from shared_models.datasets.frame_listing import files_by_frame, unknown_frame
from shared_models.datasets.plain_labels import plain_labels
from shared_models.datasets.stored_arrays import Arrays, matrix, read_arrays, read_json
from shared_models.errors import ConfigError, DatasetError
from shared_models.records import CameraCalibration, Frame

ARRAYS: Final = {
    "points": (None, 3),
    "intensity": (None,),
    "sensor": (None,),
    "boxes": (None, 7),
    "labels": (None,),
    "sensor_id": (None,),
    "world_from_lidar": (4, 4),
    "timestamp": (),
}
IMAGE_SIZE: Final = (1080, 1920)
SPINNING, FORWARD = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PandasetConfig:
    """Which of the two LiDARs is read.

    sensor: 0 is the spinning Pandar64 (360 degrees), 1 the forward-looking PandarGT.
    """

    sensor: int = SPINNING

    def __post_init__(self) -> None:
        if self.sensor not in (SPINNING, FORWARD):
            raise ConfigError(f"PandasetConfig.sensor: expected 0 or 1, got {self.sensor}")


class PandasetDataset(Dataset):
    """Frames of one sequence, named by their numbers ("30")."""

    def __init__(self, root: Path, split: str = "all", config: PandasetConfig | None = None) -> None:
        self._root = Path(root)
        self._config = config or PandasetConfig()
        self._paths = files_by_frame(self._root, "lidar_*.npz", "lidar_", split)

    @classmethod
    def open(cls, root: Path, split: str = "all") -> Self:
        return cls(root, split)

    @property
    def frame_ids(self) -> tuple[str, ...]:
        return tuple(self._paths)

    def frame(self, frame_id: str) -> Frame:
        if frame_id not in self._paths:
            raise unknown_frame(self._root, frame_id, self._paths)
        path = self._paths[frame_id]
        arrays = read_arrays(path, ARRAYS)
        if not len(arrays["points"]) == len(arrays["intensity"]) == len(arrays["sensor"]):
            raise DatasetError(f"{path}: points, intensity and sensor have different lengths")
        if not len(arrays["boxes"]) == len(arrays["labels"]) == len(arrays["sensor_id"]):
            raise DatasetError(f"{path}: boxes, labels and sensor_id have different lengths")
        own_points = arrays["sensor"] == self._config.sensor
        own_boxes = np.isin(arrays["sensor_id"], (-1, self._config.sensor))
        intensity = arrays["intensity"].astype(np.float32) / 255
        points = np.concatenate([arrays["points"].astype(np.float32), intensity[:, None]], axis=1)
        return Frame(
            frame_id=frame_id,
            points=np.ascontiguousarray(points[own_points]),
            timestamp_ns=round(float(arrays["timestamp"]) * 1e9),
            labels=plain_labels(arrays["boxes"][own_boxes], [str(n) for n in arrays["labels"][own_boxes]]),
            camera=_front_camera(self._root / "front_camera", frame_id, arrays),
            world_from_lidar=arrays["world_from_lidar"].astype(np.float64),
        )


def camera_image_path(root: Path, frame_id: str) -> Path:
    """Where the front camera's image of a frame lies; not every frame has one."""
    return root / "front_camera" / f"{frame_id}.jpg"


def _front_camera(folder: Path, frame_id: str, arrays: Arrays) -> CameraCalibration | None:
    """The front camera at the moment of its own image; None where the folder has no camera."""
    if not (folder / "poses.json").is_file() or not frame_id.isdecimal():
        return None
    poses, inner = read_json(folder / "poses.json"), read_json(folder / "intrinsics.json")
    try:
        world_from_camera = _pose(folder / "poses.json", poses[int(frame_id)])
        fx, fy, cx, cy = (float(inner[key]) for key in ("fx", "fy", "cx", "cy"))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DatasetError(f"{folder}: poses.json or intrinsics.json lacks {error} for frame {frame_id}") from error
    return CameraCalibration(
        image_from_camera=np.array([[fx, 0, cx, 0], [0, fy, cy, 0], [0, 0, 1, 0]], dtype=np.float64),
        camera_from_lidar=np.asarray(np.linalg.inv(world_from_camera) @ arrays["world_from_lidar"], dtype=np.float64),
        image_size=IMAGE_SIZE,
    )


def _pose(path: Path, pose: dict[str, Any]) -> NDArray[np.float64]:
    """(4, 4) world_from_camera of a position and a unit quaternion."""
    position = [pose["position"][k] for k in "xyz"]
    quaternion = matrix(path, "heading", [[pose["heading"][k] for k in "wxyz"]], (1, 4))[0]
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    result = np.eye(4)
    result[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    result[:3, 3] = position
    return result
