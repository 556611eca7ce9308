"""What a two-stage detector thinks of its proposals before the last selection."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Boxes of one scene with both stages' scores; R = 0 is valid.

    boxes: (R, 7) [x y z length width height yaw], metres and radians, LiDAR frame, finite, sizes above 0.
    labels: (R,) int64, index into the detector's class names.
    class_scores: (R,) 0 to 1, how sure the first stage is of the class.
    box_scores: (R,) 0 to 1, the IoU that the second stage predicts.
    """

    boxes: Tensor
    labels: Tensor
    class_scores: Tensor
    box_scores: Tensor

    def __post_init__(self) -> None:
        check.shape("Candidates", "boxes", self.boxes, (None, 7))
        for name in ("labels", "class_scores", "box_scores"):
            check.shape("Candidates", name, getattr(self, name), (len(self.boxes),))

    def __len__(self) -> int:
        return len(self.boxes)

    def chosen(self, rows: Tensor) -> Candidates:
        """Those that a mask or row numbers choose."""
        return Candidates(
            boxes=self.boxes[rows],
            labels=self.labels[rows],
            class_scores=self.class_scores[rows],
            box_scores=self.box_scores[rows],
        )
