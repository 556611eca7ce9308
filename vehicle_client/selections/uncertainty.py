"""Frames in which the vehicle's own detector is not sure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.records import check
from vehicle_client.selection import Candidate, Need, Selection, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyConfig:
    """What counts as not sure.

    measure: "entropy": mean binary entropy of the boxes' scores, 0 to 1 bit; "boxes": number of boxes whose score lies
        within `low` to `high`.
    threshold: for "entropy": frames of at least so much are selected.
    boxes: for "boxes": frames of at least so many are selected.
    low, high: scores of boxes that may be there or not, 0 to 1; for "entropy" boxes below `low` are left out.
    """

    measure: Literal["entropy", "boxes"] = "entropy"
    threshold: float = 0.7
    boxes: int = 3
    low: float = 0.1
    high: float = 0.7

    def __post_init__(self) -> None:
        check.number("UncertaintyConfig", "threshold", self.threshold, 0.0, 1.0)
        check.count("UncertaintyConfig", "boxes", self.boxes, 1_000_000)
        check.number("UncertaintyConfig", "low, high", (self.low, self.high), 0.0, 1.0)
        if self.low > self.high:
            raise InvalidValueError(f"UncertaintyConfig: expected low <= high, got {self.low} and {self.high}")


class UncertaintySelection(Selection):
    """Frames whose detections have scores near the middle. A frame without boxes is certain; nothing is remembered."""

    name: ClassVar[str] = "uncertainty"
    config_class: ClassVar[type[Any]] = UncertaintyConfig
    needs: ClassVar[frozenset[Need]] = frozenset({"detections"})

    def __init__(self, config: UncertaintyConfig) -> None:
        self._config = config

    @property
    def has_scores(self) -> bool:
        return True

    def judge(self, candidate: Candidate) -> Verdict:
        """Raises InvalidValueError: the candidate has no detections."""
        if candidate.detections is None:
            raise InvalidValueError(f"frame {candidate.frame.frame_id}: uncertainty needs the vehicle's own detections")
        scores, config = candidate.detections.scores, self._config
        if config.measure == "entropy":
            entropy = mean_entropy(scores[scores >= config.low])
            reason = f"uncertainty: mean entropy of {config.threshold:g} bit or more"
            return Verdict(is_selected=entropy >= config.threshold, reason=reason, score=entropy)
        unsure = int(((scores >= config.low) & (scores <= config.high)).sum())
        reason = f"uncertainty: {config.boxes} or more boxes of scores {config.low:g} to {config.high:g}"
        return Verdict(is_selected=unsure >= config.boxes, reason=reason, score=unsure / (unsure + config.boxes))

    def accept(self, candidate: Candidate) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        pass


def mean_entropy(scores: Tensor) -> float:
    """Mean binary entropy in bits, 0 to 1, of `scores`, (M,) from 0 to 1; 0 where there are none.

    Source: C. E. Shannon, "A Mathematical Theory of Communication" (1948), section 6.
    """
    if not len(scores):
        return 0.0
    p = torch.stack([scores, 1 - scores]).double()
    bits = -(torch.special.xlogy(p, p)).sum(0) / torch.log(torch.tensor(2.0, dtype=torch.float64))
    return min(1.0, max(0.0, float(bits.mean())))
