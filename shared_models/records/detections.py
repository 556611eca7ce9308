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

    boxes: (M, 7) float32 [x y z length width height yaw], box centre, metres and radians, LiDAR frame.
    scores: (M,) float32, 0 to 1.
    labels: (M,) int64, index into `class_names`.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        count = self.boxes.shape[0]
        check.shape("Detections", "boxes", self.boxes, (count, 7))
        check.shape("Detections", "scores", self.scores, (count,))
        check.shape("Detections", "labels", self.labels, (count,))
        check.dtype("Detections", "labels", self.labels, torch.int64)
        if count and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.class_names):
            raise InvalidValueError(
                f"Detections.labels: expected 0 to {len(self.class_names) - 1}, "
                f"got {int(self.labels.min())} to {int(self.labels.max())}"
            )

    def __len__(self) -> int:
        return int(self.boxes.shape[0])
