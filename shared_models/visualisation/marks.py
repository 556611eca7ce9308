"""What is drawn around objects: labels and detections brought to one form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared_models.errors import InvalidValueError
from shared_models.records import Detections, ObjectLabels


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Boxes to draw; M boxes.

    boxes: (M, 7) float32 [x y z length width height yaw], metres and radians, LiDAR frame.
    class_names: M names.
    is_detected: whether a detector found them, or a person (or the simulator) labelled them.
    """

    boxes: NDArray[np.float32]
    class_names: tuple[str, ...]
    is_detected: bool = False

    def __post_init__(self) -> None:
        if self.boxes.shape != (len(self.class_names), 7):
            raise InvalidValueError(f"Marks: expected {len(self.class_names)} boxes of 7, got {self.boxes.shape}")


def of_labels(labels: ObjectLabels | None) -> Marks:
    """The labelled boxes; none where the frame is unlabelled."""
    if labels is None:
        return Marks(boxes=np.empty((0, 7), dtype=np.float32), class_names=())
    return Marks(boxes=labels.boxes, class_names=labels.class_names)


def of_detections(detections: Detections, min_score: float) -> Marks:
    """The detections with at least `min_score`."""
    kept = np.flatnonzero(detections.scores.cpu().numpy() >= min_score).tolist()
    names = tuple(detections.class_names[int(detections.labels[index])] for index in kept)
    return Marks(boxes=detections.boxes.cpu().numpy()[kept].astype(np.float32), class_names=names, is_detected=True)
