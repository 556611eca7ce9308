"""What a detector found in one scene."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """Boxes of one scene, best score first; M = 0 is valid.

    boxes: (M, 7) float32 [x y z length width height yaw], finite; box centre, metres and radians, LiDAR frame.
    scores: (M,) float32, 0 to 1.
    labels: (M,) int64, index into `class_names`.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        check.shape("Detections", "boxes", self.boxes, (None, 7))
        count = self.boxes.shape[0]
        check.shape("Detections", "scores", self.scores, (count,))
        check.shape("Detections", "labels", self.labels, (count,))
        check.dtype("Detections", "labels", self.labels, torch.int64)
        if not bool(torch.isfinite(self.boxes).all()):
            row = int((~torch.isfinite(self.boxes)).any(1).nonzero()[0])
            raise InvalidValueError(
                f"Detections.boxes: expected finite numbers, got {self.boxes[row].tolist()} ({row})"
            )
        if not bool(((self.scores >= 0) & (self.scores <= 1)).all()):  # refuses NaN too
            wrong = self.scores[~((self.scores >= 0) & (self.scores <= 1))]
            raise InvalidValueError(f"Detections.scores: expected 0 to 1, got {float(wrong[0])}")
        if count and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.class_names):
            raise InvalidValueError(
                f"Detections.labels: expected 0 to {len(self.class_names) - 1}, "
                f"got {int(self.labels.min())} to {int(self.labels.max())}"
            )

    def __len__(self) -> int:
        return int(self.boxes.shape[0])
