"""How good pseudo labels are, where the true labels are known: for telemetry, never for training."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from server.training.samples import Truth
from shared_models.geometry.iou import iou_3d


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelQuality:
    """found: pseudo labels that are right. wrong: the others. missed: objects without one."""

    found: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        """Share of the pseudo labels that are right; NaN where there is none."""
        return self.found / (self.found + self.wrong) if self.found + self.wrong else float("nan")

    @property
    def recall(self) -> float:
        """Share of the objects that have one; NaN where there is none."""
        return self.found / (self.found + self.missed) if self.found + self.missed else float("nan")

    def plus(self, other: LabelQuality) -> LabelQuality:
        """Both together."""
        return LabelQuality(
            found=self.found + other.found, wrong=self.wrong + other.wrong, missed=self.missed + other.missed
        )


def label_quality(pseudo: Truth, truth: Truth, min_iou: float = 0.5) -> LabelQuality:
    """Pseudo labels against true ones: right is a box of the same class and at least `min_iou` in 3D, one an object.

    Greedy from the best overlap on. Ignored pseudo labels do not count.
    """
    sure = pseudo.chosen(~pseudo.is_ignored)
    if len(sure) == 0 or len(truth) == 0:
        return LabelQuality(wrong=len(sure), missed=len(truth))
    overlaps = iou_3d(torch.from_numpy(sure.boxes), torch.from_numpy(truth.boxes)).numpy()
    overlaps[sure.labels[:, None] != truth.labels[None]] = 0.0
    found = 0
    while overlaps.max() >= min_iou:
        row, column = divmod(int(overlaps.argmax()), overlaps.shape[1])
        overlaps[row, :] = overlaps[:, column] = 0.0
        found += 1
    return LabelQuality(found=found, wrong=len(sure) - found, missed=len(truth) - found)
