"""Numbers on pseudo labels: of all scenes together, and of each vehicle that sent some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Final

import numpy as np
import torch

from server.repositories.pseudonym import vehicle_tag
from server.training.processes import Processes
from server.training.pseudo_label_quality import LabelQuality

MOST_VEHICLES: Final = 20
OTHERS: Final = "others"


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoCounts:
    """What is counted in one scene; sums of several are the sums of their fields.

    scenes: 1. without: 1 where the teacher found nothing.
    boxes, ignored: pseudo labels to learn from, and ignored ones.
    pasted: exact boxes of pasted objects. score: predicted IoU of `boxes`, summed.
    found, wrong, missed: as `LabelQuality`, where the true labels are known.
    compared, shared: of the steps in which student and teacher are compared, the teacher's boxes, and those of them
        that the student finds too.
    """

    scenes: int = 1
    without: int = 0
    boxes: int = 0
    ignored: int = 0
    pasted: int = 0
    score: float = 0.0
    found: int = 0
    wrong: int = 0
    missed: int = 0
    compared: int = 0
    shared: int = 0

    def numbers(self) -> dict[str, float]:
        """Means by name, without those that there is nothing to take a mean of."""
        if not self.scenes:
            return {}
        quality = LabelQuality(found=self.found, wrong=self.wrong, missed=self.missed)
        means = {
            "pseudo/boxes": self.boxes / self.scenes,
            "pseudo/ignored": self.ignored / self.scenes,
            "pseudo/scenes_without": self.without / self.scenes,
            "pseudo/pasted": self.pasted / self.scenes,
            "pseudo/share_pasted": self.pasted / (self.pasted + self.boxes) if self.pasted + self.boxes else np.nan,
            "pseudo/score": self.score / self.boxes if self.boxes else np.nan,
            "pseudo/precision": quality.precision,
            "pseudo/recall": quality.recall,
            "teacher/agreement": self.shared / self.compared if self.compared else np.nan,
        }
        return {name: value for name, value in means.items() if not np.isnan(value)}


_WIDTH: Final = len(fields(PseudoCounts))


class PseudoTelemetry:
    """Adds up what was seen since numbers were logged last, in all processes.

    At most `MOST_VEHICLES` vehicles have numbers of their own, those with the most scenes; the others have theirs
    together.
    """

    def __init__(self, processes: Processes, device: torch.device, every: int, vehicle_ids: Sequence[str] = ()) -> None:
        """every: steps between logged numbers. vehicle_ids: of each unlabelled scene, the same in every process."""
        self._processes, self._device, self._every = processes, device, every
        ranked = [vehicle_id for vehicle_id, _ in Counter(vehicle_ids).most_common()]
        self._row_of = {vehicle_id: min(row, MOST_VEHICLES) for row, vehicle_id in enumerate(ranked)}
        names = [vehicle_tag(vehicle_id) for vehicle_id in ranked[:MOST_VEHICLES]]
        self._names = (*names, OTHERS) if len(ranked) > MOST_VEHICLES else tuple(names)
        self._sums = np.zeros((max(1, len(self._names)), _WIDTH))

    def add(self, counts: PseudoCounts, vehicle_id: str = "") -> None:
        """One more scene; `vehicle_id` is one of those given, or "" for scenes of no vehicle."""
        self._sums[self._row_of.get(vehicle_id, 0)] += astuple(counts)

    def numbers(self, step: int) -> Mapping[str, float]:
        """After step `step`, counted from 1: means since the last logged step. Every process must call it."""
        summed = self._processes.summed(self._sums.ravel().tolist(), self._device)
        rows = np.array(summed).reshape(self._sums.shape)
        found = _counts(rows.sum(0)).numbers()
        for name, row in zip(self._names, rows, strict=False):
            found |= {f"{key}/{name}": value for key, value in _counts(row).numbers().items()}
        if step % self._every == 0:
            self._sums[:] = 0
        return found


def _counts(row: np.ndarray) -> PseudoCounts:
    return PseudoCounts(**dict(zip(PseudoCounts.__dataclass_fields__, row.tolist(), strict=True)))
