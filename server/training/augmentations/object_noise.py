"""Each object turned and scaled a little: what ST3D's curriculum makes stronger from stage to stage.

Source: J. Yang et al., "ST3D: Self-training for Unsupervised Domain Adaptation on 3D Object Detection", CVPR 2021,
section 3.4, with the ranges of its published configuration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from server.training.augment import AppliedTransform, Augmentation, Augmented
from server.training.object_edits import choose_without_overlap, edit_objects
from server.training.samples import LabelledScan
from shared_models.errors import InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectNoiseConfig:
    """How far each object is changed.

    max_rad: to each side, radians, drawn evenly.
    turn_probability: of an object being turned at all, 0 to 1.
    low: smallest factor of its size, 0.2 to 5.
    high: largest factor of its size, 0.2 to 5.
    tries: draws per object until one overlaps no other object seen from above, 1 to 1000.
    """

    max_rad: float = 0.385
    turn_probability: float = 0.8
    low: float = 0.95
    high: float = 1.05
    tries: int = 50

    def __post_init__(self) -> None:
        check.number("ObjectNoiseConfig", "max_rad", self.max_rad, 0, math.pi)
        check.number("ObjectNoiseConfig", "turn_probability", self.turn_probability, 0, 1)
        check.number("ObjectNoiseConfig", "low", self.low, 0.2, 5)
        check.number("ObjectNoiseConfig", "high", self.high, 0.2, 5)
        check.count("ObjectNoiseConfig", "tries", self.tries, 1000)
        if self.low > self.high:
            raise InvalidValueError(f"ObjectNoiseConfig: expected low <= high, got {self.low} and {self.high}")

    def strengthened(self, factor: float) -> ObjectNoiseConfig:
        """The angle times `factor`, the sizes `factor` times as far from 1 (curriculum of ST3D)."""
        low, high = (min(max(1 + (edge - 1) * factor, 0.2), 5.0) for edge in (self.low, self.high))
        return replace(self, max_rad=min(self.max_rad * factor, math.pi), low=low, high=high)


class ObjectNoise(Augmentation):
    """Turns and scales each object and its points about its own frame; its underside stays in place."""

    def __init__(self, config: ObjectNoiseConfig) -> None:
        self.config = config

    def apply_recorded(self, scan: LabelledScan, rng: np.random.Generator) -> Augmented:
        config, size = self.config, (len(scan.truth), self.config.tries)
        is_turned = rng.random(len(scan.truth)) < config.turn_probability
        turn_rad = rng.uniform(-config.max_rad, config.max_rad, size) * is_turned[:, None]
        scale = np.repeat(rng.uniform(config.low, config.high, size)[:, :, None], 3, axis=2)
        edits = choose_without_overlap(scan.truth.boxes, scale, turn_rad)
        return Augmented(scan=edit_objects(scan, edits), transform=AppliedTransform())
