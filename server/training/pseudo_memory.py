"""ST3D's memory of pseudo labels: what was found before is not forgotten at once (Yang et al., CVPR 2021, 3.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from server.training.samples import Truth
from shared_models.geometry.iou import iou_3d
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryConfig:
    """How old and new labels of a frame are joined.

    match_iou: an old and a new label at least this close in 3D are one object.
    ignore_after, forget_after: rounds without a match after which an old label is ignored, and dropped.
    """

    match_iou: float = 0.1
    ignore_after: int = 2
    forget_after: int = 3

    def __post_init__(self) -> None:
        check.number("MemoryConfig", "match_iou", self.match_iou, 0, 1)
        check.count("MemoryConfig", "ignore_after", self.ignore_after, 1000)
        check.count("MemoryConfig", "forget_after", self.forget_after, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The pseudo labels of one frame.

    truth: M labels. scores: (M,) float32, predicted IoU. misses: (M,) int64, rounds since the last match.
    """

    truth: Truth
    scores: NDArray[np.float32]
    misses: NDArray[np.int64]

    def __post_init__(self) -> None:
        check.shape("Remembered", "scores", self.scores, (len(self.truth),))
        check.shape("Remembered", "misses", self.misses, (len(self.truth),))

    @classmethod
    def fresh(cls, truth: Truth, scores: NDArray[np.float32]) -> Remembered:
        """Labels that were found just now."""
        return cls(truth=truth, scores=scores, misses=np.zeros(len(truth), dtype=np.int64))

    def chosen(self, rows: NDArray[Any]) -> Remembered:
        """Those that a mask or row numbers choose."""
        return Remembered(truth=self.truth.chosen(rows), scores=self.scores[rows], misses=self.misses[rows])

    def joined(self, other: Remembered) -> Remembered:
        """These, then those of `other`."""
        return Remembered(
            truth=self.truth.joined(other.truth),
            scores=np.concatenate((self.scores, other.scores)),
            misses=np.concatenate((self.misses, other.misses)),
        )


def merge(old: Remembered, new: Remembered, config: MemoryConfig) -> Remembered:
    """What is known of a frame after another round.

    Of a matched pair the one with the higher score stays. An old label without match is kept, then ignored, then
    dropped. New labels without match are added.
    """
    if len(old.truth) == 0:
        return new
    closest = np.full(len(old.truth), -1, dtype=np.int64)
    if len(new.truth):
        overlaps = iou_3d(torch.from_numpy(old.truth.boxes), torch.from_numpy(new.truth.boxes)).numpy()
        rows = overlaps.argmax(1)
        closest = np.where(overlaps[np.arange(len(rows)), rows] >= config.match_iou, rows, -1)
    is_matched = closest >= 0
    partner = new.scores[closest] if len(new.truth) else np.zeros(len(closest), dtype=np.float32)
    keeps_old = is_matched & (old.scores >= partner)
    taken = np.zeros(len(new.truth), dtype=bool)
    taken[closest[keeps_old]] = True
    misses = np.where(is_matched, 0, old.misses + 1)
    # Kept because it scores at least as high as a sure new one: it is sure as well, also if it was missed for a while.
    is_sure_again = np.zeros(len(closest), dtype=bool)
    is_sure_again[keeps_old] = ~new.truth.is_ignored[closest[keeps_old]]
    is_ignored = (old.truth.is_ignored & ~is_sure_again) | (~is_matched & (misses >= config.ignore_after))
    aged = replace(old, truth=replace(old.truth, is_ignored=is_ignored), misses=misses)
    kept = aged.chosen(keeps_old | (~is_matched & (misses < config.forget_after)))
    return kept.joined(new.chosen(~taken))
