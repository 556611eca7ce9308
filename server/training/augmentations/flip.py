"""The scene mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.training.augment import AppliedTransform, Augmentation, Augmented
from server.training.samples import LabelledScan
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipConfig:
    """How often the scene is mirrored. Default: KITTI's; OpenPCDet mirrors Waymo's scenes along both axes.

    along_x_probability: of mirroring along the x axis (y becomes -y), 0 to 1.
    along_y_probability: of mirroring along the y axis (x becomes -x), 0 to 1; only for scans of the whole turn.
    """

    along_x_probability: float = 0.5
    along_y_probability: float = 0.0

    def __post_init__(self) -> None:
        check.number("FlipConfig", "along_x_probability", self.along_x_probability, 0, 1)
        check.number("FlipConfig", "along_y_probability", self.along_y_probability, 0, 1)


class Flip(Augmentation):
    """Mirrors the scene along x, along y, both or not at all."""

    def __init__(self, config: FlipConfig) -> None:
        self.config = config

    def apply_recorded(self, scan: LabelledScan, rng: np.random.Generator) -> Augmented:
        along_x, along_y = rng.random(2)  # always two numbers, so that later draws do not depend on the setting
        transform = AppliedTransform(
            is_flipped_x=bool(along_x < self.config.along_x_probability),
            is_flipped_y=bool(along_y < self.config.along_y_probability),
        )
        return Augmented(scan=transform.scan(scan), transform=transform)
