"""Features turned about the sensor's upright axis (F-RoT of the paper's first version).

Source: UpCycling, arXiv 2211.11950 v1 (named there, defined nowhere): planes seen from above are turned by bilinear
interpolation, keypoints exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from server.training.augment import AppliedTransform
from server.training.feature_augment import FeatureAugmentation
from server.training.features.geometry import FeatureMap
from server.training.features.scene import FeatureScan
from server.training.features.warp import warp_scan
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRotationConfig:
    """How far the scene is turned.

    max_rad: to each side, radians, drawn evenly; pi/4 as OpenPCDet turns raw points.
    """

    max_rad: float = math.pi / 4

    def __post_init__(self) -> None:
        check.number("FeatureRotationConfig", "max_rad", self.max_rad, 0, math.pi)


class FeatureRotation(FeatureAugmentation):
    """Turns the scene about the z axis of the origin by a random angle."""

    def __init__(self, config: FeatureRotationConfig, feature_map: FeatureMap) -> None:
        self.config, self.feature_map = config, feature_map

    def apply(self, scan: FeatureScan, rng: np.random.Generator) -> FeatureScan:
        angle_rad = float(rng.uniform(-self.config.max_rad, self.config.max_rad))
        return warp_scan(scan, AppliedTransform(rotation_rad=angle_rad), self.feature_map)
