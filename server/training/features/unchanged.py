"""No augmentation: what the others are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.training.feature_augment import FeatureAugmentation
from server.training.features.geometry import FeatureMap
from server.training.features.scene import FeatureScan


@dataclass(frozen=True, slots=True, kw_only=True)
class UnchangedConfig:
    """Nothing to set."""


class Unchanged(FeatureAugmentation):
    """Gives the scan back as it is."""

    def __init__(self, config: UnchangedConfig, feature_map: FeatureMap) -> None:
        pass

    def apply(self, scan: FeatureScan, rng: np.random.Generator) -> FeatureScan:
        return scan
