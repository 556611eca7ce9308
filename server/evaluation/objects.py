"""What is compared: the labelled and the detected objects of one frame.

Boxes lie in one upright frame per scene (x forward, y left, z up): the LiDAR's, or, where a camera is known, the
camera's turned upright, because KITTI compares boxes as they stand in the camera's frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared_models.errors import InvalidValueError
from shared_models.records import Detections, check

UNKNOWN_POINTS = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthObjects:
    """Labelled objects, in the annotator's order; M = 0 is valid.

    class_names: M names; compared without regard to case.
    boxes: (M, 7) float64 [x y z length width height yaw], box centre, metres and radians, upright frame.
    image_boxes: (M, 4) float64 [left top right bottom], pixels; all NaN where there is no camera, all 0 where the
        image does not show the object.
    alpha_rad: (M,) float64, direction of the object as the camera sees it; NaN where there is no camera.
    occlusion: (M,) int64, KITTI's levels 0 to 3, -1 unknown.
    truncation: (M,) float64, share outside the image, 0 to 1, -1 unknown.
    point_counts: (M,) int64, LiDAR points inside the box, -1 where they were not counted.
    image_only_boxes: (I, 4) float64, pixels of regions that were left unlabelled (KITTI's DontCare).
    """

    class_names: tuple[str, ...]
    boxes: NDArray[np.float64]
    image_boxes: NDArray[np.float64]
    alpha_rad: NDArray[np.float64]
    occlusion: NDArray[np.int64]
    truncation: NDArray[np.float64]
    point_counts: NDArray[np.int64]
    image_only_boxes: NDArray[np.float64]

    def __post_init__(self) -> None:
        _check_objects("TruthObjects", self)
        count = len(self.class_names)
        for field in ("occlusion", "truncation", "point_counts"):
            check.shape("TruthObjects", field, getattr(self, field), (count,))
        check.shape("TruthObjects", "image_only_boxes", self.image_only_boxes, (None, 4))
        for field in ("truncation", "image_only_boxes"):
            _check_finite("TruthObjects", field, getattr(self, field))

    def __len__(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedObjects:
    """Detected objects in any order; M = 0 is valid. Fields as in `TruthObjects`.

    scores: (M,) float64, finite, higher is surer; KITTI's text files may have any range.
    """

    class_names: tuple[str, ...]
    boxes: NDArray[np.float64]
    image_boxes: NDArray[np.float64]
    alpha_rad: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __post_init__(self) -> None:
        _check_objects("DetectedObjects", self)
        check.shape("DetectedObjects", "scores", self.scores, (len(self.class_names),))
        _check_finite("DetectedObjects", "scores", self.scores)

    def __len__(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedFrame:
    """One frame with what was labelled and what was found.

    found: the detections in the LiDAR frame, for pictures; None where only KITTI's text is at hand.
    """

    frame_id: str
    truth: TruthObjects
    detections: DetectedObjects
    found: Detections | None = None

    def __post_init__(self) -> None:
        check.name("EvaluatedFrame", "frame_id", self.frame_id)

    @property
    def has_image_boxes(self) -> bool:
        """Whether every object has a place in an image, if only the empty one."""
        return not any(np.isnan(objects.image_boxes).any() for objects in (self.truth, self.detections))


def upright_from_camera(
    bottoms: NDArray[np.float64], sizes: NDArray[np.float64], rotations: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(M, 7) boxes [x y z length width height yaw] in the camera's place, x forward, y left, z up.

    bottoms: (M, 3) [right down forward] of the bottom's centre, metres. sizes: (M, 3) [height width length], metres.
    rotations: (M,) rotation_y, radians. The box spans [y - height, y] along the camera's y axis.
    """
    right, down, forward = bottoms.T
    centres = np.stack((forward, -right, -down + sizes[:, 0] / 2), axis=1)
    return np.concatenate((centres, sizes[:, ::-1], (-rotations - np.pi / 2)[:, None]), axis=1)


def _check_objects(owner: str, objects: TruthObjects | DetectedObjects) -> None:
    count = len(objects.class_names)
    check.shape(owner, "boxes", objects.boxes, (count, 7))
    check.dtype(owner, "boxes", objects.boxes, np.float64)
    check.shape(owner, "image_boxes", objects.image_boxes, (count, 4))
    check.shape(owner, "alpha_rad", objects.alpha_rad, (count,))
    _check_finite(owner, "boxes", objects.boxes)
    if not (objects.boxes[:, 3:6] > 0).all():
        row = int(np.argmin((objects.boxes[:, 3:6] > 0).all(axis=1)))
        raise InvalidValueError(f"{owner}.boxes: expected sizes above 0 m, got {objects.boxes[row, 3:6].tolist()}")
    if np.isinf(objects.image_boxes).any():
        raise InvalidValueError(f"{owner}.image_boxes: expected finite pixels, or NaN where there is no camera")


def _check_finite(owner: str, field: str, array: NDArray[Any]) -> None:
    if not np.isfinite(array).all():
        place = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
        raise InvalidValueError(f"{owner}.{field}: expected finite numbers, got {array[place]} at {place}")
