"""The scene made larger or smaller."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.training.augment import AppliedTransform, Augmentation, Augmented
from server.training.samples import LabelledScan
from shared_models.errors import InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingConfig:
    """By how much the scene is scaled, drawn evenly; OpenPCDet's 0.95 to 1.05 (ST3D's self-training: 0.97 to 1.03).

    low: smallest factor, 0.5 to 2.
    high: largest factor, 0.5 to 2.
    """

    low: float = 0.95
    high: float = 1.05

    def __post_init__(self) -> None:
        check.number("ScalingConfig", "low", self.low, 0.5, 2)
        check.number("ScalingConfig", "high", self.high, 0.5, 2)
        if self.low > self.high:
            raise InvalidValueError(f"ScalingConfig: expected low <= high, got {self.low} and {self.high}")

    def strengthened(self, factor: float) -> ScalingConfig:
        """Both factors `factor` times as far from 1, within 0.5 and 2 (curriculum of ST3D)."""
        low, high = (min(max(1 + (edge - 1) * factor, 0.5), 2.0) for edge in (self.low, self.high))
        return ScalingConfig(low=low, high=high)


class Scaling(Augmentation):
    """Scales all coordinates and sizes about the origin by a random factor."""

    def __init__(self, config: ScalingConfig) -> None:
        self.config = config

    def apply_recorded(self, scan: LabelledScan, rng: np.random.Generator) -> Augmented:
        transform = AppliedTransform(scale=float(rng.uniform(self.config.low, self.config.high)))
        return Augmented(scan=transform.scan(scan), transform=transform)
