"""One LiDAR scan with what belongs to it: calibration and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared_models.errors import InvalidValueError
from shared_models.records import check

POINT_FIELDS = ("x", "y", "z", "intensity")


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraCalibration:
    """A pinhole camera seen from the LiDAR.

    image_from_camera: (3, 4) float64, pixels from metres in the rectified camera frame (x right, y down, z forward).
    camera_from_lidar: (4, 4) float64, metres.
    image_size: (height, width) in pixels.
    """

    image_from_camera: NDArray[np.float64]
    camera_from_lidar: NDArray[np.float64]
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        check.shape("CameraCalibration", "image_from_camera", self.image_from_camera, (3, 4))
        check.shape("CameraCalibration", "camera_from_lidar", self.camera_from_lidar, (4, 4))


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectLabels:
    """Annotated objects of one frame; M objects in the annotator's order.

    boxes: (M, 7) float32 [x y z length width height yaw], box centre, metres and radians, LiDAR frame.
    class_names: M names in the dataset's own words ("Car", "Pedestrian", ...).
    image_boxes: (M, 4) float32 [left top right bottom], pixels; NaN where the dataset has none.
    occlusion: (M,) int64, KITTI's levels: 0 visible, 1 partly, 2 largely, 3 unknown.
    truncation: (M,) float32, share outside the image, 0 to 1.
    image_only_boxes: (I, 4) float32 pixels of regions that were left unlabelled (KITTI's DontCare).
    track_ids: (M,) int64, the same for one object in every frame of a drive; None where the dataset has none.
    """

    boxes: NDArray[np.float32]
    class_names: tuple[str, ...]
    image_boxes: NDArray[np.float32]
    occlusion: NDArray[np.int64]
    truncation: NDArray[np.float32]
    image_only_boxes: NDArray[np.float32]
    track_ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = len(self.class_names)
        check.shape("ObjectLabels", "boxes", self.boxes, (count, 7))
        check.dtype("ObjectLabels", "boxes", self.boxes, np.float32)
        check.shape("ObjectLabels", "image_boxes", self.image_boxes, (count, 4))
        check.shape("ObjectLabels", "occlusion", self.occlusion, (count,))
        check.shape("ObjectLabels", "truncation", self.truncation, (count,))
        check.shape("ObjectLabels", "image_only_boxes", self.image_only_boxes, (None, 4))
        if self.track_ids is not None:
            check.shape("ObjectLabels", "track_ids", self.track_ids, (count,))

    def __len__(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraImage:
    """What the frame's camera shows; H x W pixels, all four pictures from the same rays.

    colour: (H, W, 3) uint8 [red green blue].
    depth_m: (H, W) float32, metres along the camera's forward axis, inf for the sky; None where it is not known.
    semantic: (H, W) uint8, index into the frame's `semantic_names`; None where it is not known.
    instance: (H, W) int32, track id of the object or 0; None where it is not known.
    """

    colour: NDArray[np.uint8]
    depth_m: NDArray[np.float32] | None = None
    semantic: NDArray[np.uint8] | None = None
    instance: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        check.shape("CameraImage", "colour", self.colour, (None, None, 3))
        check.dtype("CameraImage", "colour", self.colour, np.uint8)
        size = self.colour.shape[:2]
        if self.depth_m is not None:
            check.shape("CameraImage", "depth_m", self.depth_m, size)
        if self.semantic is not None:
            check.shape("CameraImage", "semantic", self.semantic, size)
        if self.instance is not None:
            check.shape("CameraImage", "instance", self.instance, size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One LiDAR scan in the vehicle's frame: x forward, y left, z up, metres.

    frame_id: unique within its dataset or drive; printable, no path separators.
    timestamp_ns: nanoseconds since the epoch, 0 where the dataset has none.
    points: (N, F) float32, one column per name in `point_fields`; N = 0 is a valid empty scan.
    point_fields: names of the columns; begins with x, y, z, intensity (intensity 0 to 1).
    labels: annotated objects, None where the frame is unlabelled.
    camera: calibration of the camera that the labels were made in, None where there is none.
    world_from_lidar: (4, 4) float64 pose of the scan in a frame that stays fixed during its drive, metres; None where
        the dataset has none.
    semantic: (N,) uint8 class of each point, an index into `semantic_names`; None where the dataset has none.
    semantic_names: the dataset's words for the classes.
    instance: (N,) int32 track id of the object that each point lies on, 0 for none; None where the dataset has none.
    image: what the camera shows, None where it is missing or was not asked for.
    """

    frame_id: str
    points: NDArray[np.float32]
    timestamp_ns: int = 0
    point_fields: tuple[str, ...] = POINT_FIELDS
    labels: ObjectLabels | None = None
    camera: CameraCalibration | None = None
    world_from_lidar: NDArray[np.float64] | None = None
    semantic: NDArray[np.uint8] | None = None
    semantic_names: tuple[str, ...] = ()
    instance: NDArray[np.int32] | None = None
    image: CameraImage | None = None

    def __post_init__(self) -> None:
        check.name("Frame", "frame_id", self.frame_id)
        check.shape("Frame", "points", self.points, (None, len(self.point_fields)))
        check.dtype("Frame", "points", self.points, np.float32)
        if self.world_from_lidar is not None:
            check.shape("Frame", "world_from_lidar", self.world_from_lidar, (4, 4))
        if self.semantic is not None:
            check.shape("Frame", "semantic", self.semantic, (len(self.points),))
        if self.instance is not None:
            check.shape("Frame", "instance", self.instance, (len(self.points),))

    def columns(self, fields: tuple[str, ...]) -> NDArray[np.float32]:
        """(N, len(fields)) float32: the named point columns.

        Raises:
            InvalidValueError: the frame lacks one of them.
        """
        missing = [f for f in fields if f not in self.point_fields]
        if missing:
            raise InvalidValueError(
                f"frame {self.frame_id}: the detector needs point fields {fields}, "
                f"the frame has {self.point_fields}; missing {missing}"
            )
        if fields == self.point_fields:
            return self.points
        chosen: Any = self.points[:, [self.point_fields.index(f) for f in fields]]
        return np.ascontiguousarray(chosen)
