"""Normal noise on the features of active cells and of keypoints."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from server.training.feature_augment import FeatureAugmentation
from server.training.features.geometry import FeatureMap
from server.training.features.scene import FeatureScan
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureNoiseConfig:
    """How strong the noise is; the paper does not say.

    strength: standard deviation of the noise over that of all active features of the scene.
    """

    strength: float = 0.1

    def __post_init__(self) -> None:
        check.number("FeatureNoiseConfig", "strength", self.strength, 0, 100)


class FeatureNoise(FeatureAugmentation):
    """Adds independent noise to every channel; no cell appears, vanishes or moves."""

    def __init__(self, config: FeatureNoiseConfig, feature_map: FeatureMap) -> None:
        self.config = config

    def apply(self, scan: FeatureScan, rng: np.random.Generator) -> FeatureScan:
        grid, keypoints = scan.features.grid, scan.features.keypoints
        noisy = replace(grid, features=self._noisy(grid.features, rng))
        if keypoints is None:
            return scan.changed(noisy, None)
        return scan.changed(noisy, replace(keypoints, features=self._noisy(keypoints.features, rng)))

    def _noisy(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        # Drawn where the features are. The same seed gives the same noise on one kind of device only.
        generator = torch.Generator(features.device).manual_seed(int(rng.integers(2**62)))
        if features.numel() < 2:
            return features
        deviation = self.config.strength * features.std()
        noise = torch.randn(features.shape, generator=generator, device=features.device, dtype=features.dtype)
        return noise.mul_(deviation).add_(features)
