"""The scene turned about the sensor's upright axis."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from server.training.augment import AppliedTransform, Augmentation, Augmented
from server.training.samples import LabelledScan
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationConfig:
    """How far the scene is turned.

    max_rad: to each side, radians, drawn evenly; OpenPCDet's pi/4 for KITTI and Waymo.
    """

    max_rad: float = math.pi / 4

    def __post_init__(self) -> None:
        check.number("RotationConfig", "max_rad", self.max_rad, 0, math.pi)

    def strengthened(self, factor: float) -> RotationConfig:
        """The range times `factor`, at most a half turn to each side (curriculum of ST3D)."""
        return replace(self, max_rad=min(self.max_rad * factor, math.pi))


class Rotation(Augmentation):
    """Turns the scene about the z axis of the origin by a random angle."""

    def __init__(self, config: RotationConfig) -> None:
        self.config = config

    def apply_recorded(self, scan: LabelledScan, rng: np.random.Generator) -> Augmented:
        angle_rad = rng.uniform(-self.config.max_rad, self.config.max_rad)
        transform = AppliedTransform(rotation_rad=float(angle_rad))
        return Augmented(scan=transform.scan(scan), transform=transform)
