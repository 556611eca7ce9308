"""KITTI's label and detection files: one object a line, in the camera's frame.

Columns: type truncation occlusion alpha, image box [left top right bottom] in pixels, size [height width length] in
metres, bottom centre [x y z] in the rectified camera frame (x right, y down, z forward), rotation_y in radians about
the camera's y axis, and in detection files a score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared_models.datasets.kitti_calibration import in_camera, in_lidar
from shared_models.datasets.kitti_text import number, read_lines
from shared_models.errors import DatasetError
from shared_models.records import CameraCalibration, ObjectLabels

DONT_CARE = "DontCare"
GEOMETRY = ("height", "width", "length", "x", "y", "z", "rotation_y")
FIELDS = ("truncation", "occlusion", "alpha", "left", "top", "right", "bottom", *GEOMETRY, "score")  # after the type


@dataclass(frozen=True, slots=True, kw_only=True)
class KittiObject:
    """One line of a label or detection file.

    image_box: [left top right bottom], pixels.
    size_m: [height width length].
    bottom_centre_m: [x y z], rectified camera frame.
    score: None in label files.
    """

    kind: str
    truncation: float
    occlusion: int
    alpha_rad: float
    image_box: tuple[float, float, float, float]
    size_m: tuple[float, float, float]
    bottom_centre_m: tuple[float, float, float]
    rotation_y_rad: float
    score: float | None = None

    def line(self) -> str:
        """The object as a line of KITTI's text format, without line end."""
        numbers = (self.alpha_rad, *self.image_box, *self.size_m, *self.bottom_centre_m, self.rotation_y_rad)
        words = [self.kind, f"{self.truncation:.2f}", str(self.occlusion), *(f"{n:.4f}" for n in numbers)]
        return " ".join(words if self.score is None else [*words, f"{self.score:.6f}"])


def read_objects(path: Path) -> list[KittiObject]:
    """Every line of a label or detection file, DontCare included.

    Raises:
        DatasetError: the file is missing or a line is malformed; the message names path and line.
    """
    return [_parse(path, line_number, line) for line_number, line in read_lines(path)]


def _parse(path: Path, line_number: int, line: str) -> KittiObject:
    kind, *words = line.split()
    if len(words) not in (len(FIELDS) - 1, len(FIELDS)):
        raise DatasetError(
            f"{path}:{line_number}: expected {len(FIELDS)} columns (one more with a score), got {len(words) + 1}"
        )
    values = [number(path, line_number, field, word) for field, word in zip(FIELDS, words, strict=False)]
    truncation, occlusion, alpha, left, top, right, bottom, *geometry = values
    height, width, length, x, y, z, rotation_y = geometry[:7]
    if kind != DONT_CARE and min(height, width, length) <= 0:
        raise DatasetError(f"{path}:{line_number}: expected sizes above 0 m, got {height:g} {width:g} {length:g}")
    if right < left or bottom < top:
        raise DatasetError(
            f"{path}:{line_number}: expected an image box with left <= right and top <= bottom, "
            f"got {left:g} {top:g} {right:g} {bottom:g}"
        )
    if occlusion not in (-1, 0, 1, 2, 3) or not (truncation == -1 or 0 <= truncation <= 1):
        raise DatasetError(
            f"{path}:{line_number}: expected truncation 0 to 1 and occlusion 0 to 3 (or -1 for unknown), "
            f"got {truncation:g} and {occlusion:g}"
        )
    return KittiObject(
        kind=kind,
        truncation=truncation,
        occlusion=int(occlusion),
        alpha_rad=alpha,
        image_box=(left, top, right, bottom),
        size_m=(height, width, length),
        bottom_centre_m=(x, y, z),
        rotation_y_rad=rotation_y,
        score=geometry[7] if len(geometry) == 8 else None,
    )


def wrap(angle_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same angles in [-pi, pi)."""
    wrapped: NDArray[np.float64] = (angle_rad + math.pi) % (2 * math.pi) - math.pi
    return wrapped


def lidar_boxes(objects: Sequence[KittiObject], camera: CameraCalibration) -> NDArray[np.float32]:
    """(M, 7) float32 [x y z length width height yaw], box centre, LiDAR frame, of objects in the camera frame.

    The box stands upright on its bottom centre along the LiDAR's z axis, as detectors for KITTI are trained.
    """
    sizes = np.array([o.size_m for o in objects], dtype=np.float64).reshape(-1, 3)
    bottoms = np.array([o.bottom_centre_m for o in objects], dtype=np.float64).reshape(-1, 3)
    rotations = np.array([o.rotation_y_rad for o in objects], dtype=np.float64)
    centres = in_lidar(bottoms, camera)
    centres[:, 2] += sizes[:, 0] / 2
    yaw = wrap(-rotations - math.pi / 2)
    return np.concatenate([centres, sizes[:, ::-1], yaw[:, None]], axis=1).astype(np.float32)


def camera_boxes(
    boxes: NDArray[np.float32], camera: CameraCalibration
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Bottom centres (M, 3), sizes [height width length] (M, 3) and rotation_y (M,): the inverse of `lidar_boxes`."""
    values = boxes.astype(np.float64)
    bottoms = values[:, :3].copy()
    bottoms[:, 2] -= values[:, 5] / 2
    return in_camera(bottoms, camera), values[:, 5:2:-1], wrap(-values[:, 6] - math.pi / 2)


def read_labels(path: Path, camera: CameraCalibration) -> ObjectLabels:
    """The labels of one frame, with boxes in the LiDAR frame and DontCare as `image_only_boxes`.

    Raises:
        DatasetError: the file is missing or a line is malformed; the message names path and line.
    """
    everything = read_objects(path)
    objects = [o for o in everything if o.kind != DONT_CARE]
    regions = [o.image_box for o in everything if o.kind == DONT_CARE]
    return ObjectLabels(
        boxes=lidar_boxes(objects, camera),
        class_names=tuple(o.kind for o in objects),
        image_boxes=np.array([o.image_box for o in objects], dtype=np.float32).reshape(-1, 4),
        occlusion=np.array([o.occlusion for o in objects], dtype=np.int64),
        truncation=np.array([o.truncation for o in objects], dtype=np.float32),
        image_only_boxes=np.array(regions, dtype=np.float32).reshape(-1, 4),
    )
