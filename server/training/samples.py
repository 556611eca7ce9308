"""What a recipe learns from: scans with boxes, and the boxes alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared_models.errors import InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a detector should find in one scene; M = 0 is valid.

    boxes: (M, 7) float32 [x y z length width height yaw], box centre, metres and radians, LiDAR frame.
    labels: (M,) int64, index into the detector's class names.
    is_ignored: (M,) bool, boxes that are neither right nor wrong to find: too uncertain a pseudo label.
    is_exact: (M,) bool, boxes that an annotator made; False marks pseudo labels.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    is_ignored: NDArray[np.bool_]
    is_exact: NDArray[np.bool_]

    def __post_init__(self) -> None:
        count = len(self.labels)
        check.shape("Truth", "boxes", self.boxes, (count, 7))
        check.dtype("Truth", "boxes", self.boxes, np.float32)
        check.shape("Truth", "labels", self.labels, (count,))
        check.dtype("Truth", "labels", self.labels, np.int64)
        check.shape("Truth", "is_ignored", self.is_ignored, (count,))
        check.shape("Truth", "is_exact", self.is_exact, (count,))
        if not np.isfinite(self.boxes).all():
            raise InvalidValueError(f"Truth.boxes: expected finite numbers, got {self.boxes[~np.isfinite(self.boxes)]}")
        if count and not (self.boxes[:, 3:6] > 0).all():
            raise InvalidValueError("Truth.boxes: expected sizes above 0")

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def exact(cls, boxes: NDArray[np.float32], labels: NDArray[np.int64]) -> Truth:
        """Annotated boxes (M, 7) with labels (M,), all of them counted."""
        no = np.zeros(len(labels), dtype=bool)
        return cls(boxes=boxes, labels=labels, is_ignored=no, is_exact=~no)

    def chosen(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Truth:
        """The boxes that a mask or row numbers choose, in that order."""
        return Truth(
            boxes=self.boxes[rows],
            labels=self.labels[rows],
            is_ignored=self.is_ignored[rows],
            is_exact=self.is_exact[rows],
        )

    def joined(self, other: Truth) -> Truth:
        """These boxes, then those of `other`."""
        return Truth(
            boxes=np.concatenate((self.boxes, other.boxes)),
            labels=np.concatenate((self.labels, other.labels)),
            is_ignored=np.concatenate((self.is_ignored, other.is_ignored)),
            is_exact=np.concatenate((self.is_exact, other.is_exact)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledScan:
    """One raw scan with its boxes, as augmentations and supervised training take it.

    frame_id: of the frame it came from.
    points: (N, F) float32 in the detector's point fields, [x y z intensity ...], metres, LiDAR frame, intensity 0 to 1.
    """

    frame_id: str
    points: NDArray[np.float32]
    truth: Truth

    def __post_init__(self) -> None:
        check.name("LabelledScan", "frame_id", self.frame_id)
        check.shape("LabelledScan", "points", self.points, (None, None))
        check.dtype("LabelledScan", "points", self.points, np.float32)
