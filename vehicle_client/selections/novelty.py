"""Frames whose features are unlike those of all frames sent so far."""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shared_models.errors import InvalidValueError
from shared_models.records import GridFeatures, check
from vehicle_client.selection import Candidate, Selection, Verdict, number_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NoveltyConfig:
    """What counts as new.

    threshold: distance to the nearest remembered frame, 0 to 1, from which on a frame is selected. What fits depends
        on backbone and place: look at the scores in a report first.
    remembered: sent frames that are kept for comparison.
    seed: of the choice which of them are kept.
    """

    threshold: float = 0.1
    remembered: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check.number("NoveltyConfig", "threshold", self.threshold, 0.0, 1.0)
        check.count("NoveltyConfig", "remembered", self.remembered, 4096)


class NoveltySelection(Selection):
    """Compares mean and standard deviation of each channel of the split layer with those of frames that were sent.

    The score is the relative distance |a - b| / (|a| + |b|) to the nearest of them: 0 the same, 1 nothing in common or
    the first frame. Kept are an even sample of all frames sent (reservoir sampling: J. S. Vitter, "Random Sampling with
    a Reservoir", 1985, algorithm R). Another backbone begins anew.
    """

    name: ClassVar[str] = "novelty"
    config_class: ClassVar[type[Any]] = NoveltyConfig

    def __init__(self, config: NoveltyConfig) -> None:
        self._config = config
        self._backbone_hash = ""
        self._sent = 0
        self._kept: NDArray[np.float32] = np.zeros((0, 0), np.float32)

    @property
    def has_scores(self) -> bool:
        return True

    def judge(self, candidate: Candidate) -> Verdict:
        score = 1.0
        if len(self._kept) and candidate.features.backbone_hash == self._backbone_hash:
            score = float(relative_distances(statistics(candidate.features.grid), self._kept).min())
        reason = f"novelty: distance of {self._config.threshold:g} or more"
        return Verdict(is_selected=score >= self._config.threshold, reason=reason, score=score)

    def accept(self, candidate: Candidate) -> None:
        row = statistics(candidate.features.grid)
        if candidate.features.backbone_hash != self._backbone_hash or self._kept.shape[1] != len(row):
            self._backbone_hash, self._sent = candidate.features.backbone_hash, 0
            self._kept = np.zeros((0, len(row)), np.float32)
        if len(self._kept) < self._config.remembered:
            self._kept = np.concatenate([self._kept, row[None]])
        else:
            # The number of frames sent is the whole state of the randomness, so a restart draws the same.
            place = random.Random(f"{self._config.seed} {self._sent}").randrange(self._sent + 1)
            if place < len(self._kept):
                self._kept[place] = row
        self._sent += 1

    def state(self) -> dict[str, Any]:
        return {
            "backbone_hash": self._backbone_hash,
            "sent": self._sent,
            "channels": self._kept.shape[1],
            "kept": base64.b64encode(self._kept.astype("<f4").tobytes()).decode(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        sent, channels = (int(number_of(self.name, state, field)) for field in ("sent", "channels"))
        try:
            flat = np.frombuffer(base64.b64decode(state["kept"], validate=True), "<f4").astype(np.float32)
            kept = flat.reshape(-1, channels) if channels else np.zeros((0, 0), np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidValueError(f"novelty.kept: expected rows of {channels} numbers, {error!r}") from error
        if not np.isfinite(kept).all():
            raise InvalidValueError("novelty.kept: expected finite numbers")
        self._kept = kept[: self._config.remembered].copy()
        self._backbone_hash, self._sent = str(state.get("backbone_hash", "")), max(sent, len(self._kept))


def statistics(grid: GridFeatures) -> NDArray[np.float32]:
    """(2 C,) float32: mean, then standard deviation of each channel over the active cells; 0 without any cell."""
    if not len(grid):
        return np.zeros(2 * grid.features.shape[1], np.float32)
    features = grid.features.double()
    both = np.concatenate([features.mean(0).cpu().numpy(), features.std(0, correction=0).cpu().numpy()])
    return both.astype(np.float32)


def relative_distances(row: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """(R,) float64, 0 to 1: |row - r| / (|row| + |r|) for each r of `rows`, (R, C); 0 where both are zero."""
    one, many = row.astype(np.float64), rows.astype(np.float64)
    sums = np.linalg.norm(one) + np.linalg.norm(many, axis=1)
    gaps = np.linalg.norm(many - one, axis=1)
    return np.minimum(1.0, np.divide(gaps, sums, out=np.zeros_like(gaps), where=sums > 0))
