"""Guard `noise`: clipped feature vectors with Gaussian noise, of a strength that an (epsilon, delta) asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from shared_models.guard import Guard, GuardContext
from shared_models.guards.gaussian_mechanism import sigma_for
from shared_models.records import SceneFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianNoiseConfig:
    """What is promised. Two uploads are neighbours where `vectors` feature vectors of cells and keypoints differ.

    clip_norm: longest Euclidean length of a feature vector; longer ones are shortened to it. Half of the vectors of a
        trained detector (setting tiny, three KITTI scans) were shorter than 2.4 to 4.1.
    epsilon, delta: of one vehicle's `releases` uploads together.
    vectors: feature vectors that one protected thing, such as a person, changes in a scene.
    releases: scenes in which it is seen.

    Not covered: which cells are active and where keypoints lie (see `decoys`, `crop_boxes`, `keypoint_snap`), and the
    last bits of floating-point noise (I. Mironov, CCS 2012).
    """

    clip_norm: float = 4.0
    epsilon: float = 8.0
    delta: float = 1e-6
    vectors: int = 1
    releases: int = 1

    def __post_init__(self) -> None:
        check.number("GaussianNoiseConfig", "clip_norm", self.clip_norm, 1e-6, 1e6)
        check.number("GaussianNoiseConfig", "epsilon", self.epsilon, 1e-3, 1e4)
        check.number("GaussianNoiseConfig", "delta", self.delta, 1e-15, 0.5)
        check.count("GaussianNoiseConfig", "vectors", self.vectors, 10**6)
        check.count("GaussianNoiseConfig", "releases", self.releases, 10**6)

    @property
    def sensitivity(self) -> float:
        """Longest Euclidean distance between neighbouring uploads: each of the vectors can turn round."""
        return 2 * self.clip_norm * math.sqrt(self.vectors * self.releases)

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise of each number."""
        return sigma_for(self.epsilon, self.delta, self.sensitivity)


@final
class GaussianNoise(Guard):
    """Clips every feature vector and adds noise to each of its numbers. Cells and positions stay."""

    name = "noise"
    config_class = GaussianNoiseConfig
    config: GaussianNoiseConfig

    def __init__(self, config: GaussianNoiseConfig | None = None) -> None:
        super().__init__(config)
        self._sigma = self.config.sigma

    def _change(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None
    ) -> SceneFeatures:
        grid, keypoints = features.grid, features.keypoints
        grid = replace(grid, features=self._noisy(grid.features, generator))
        if keypoints is not None:
            keypoints = replace(keypoints, features=self._noisy(keypoints.features, generator))
        return replace(features, grid=grid, keypoints=keypoints)

    def _noisy(self, values: Tensor, generator: torch.Generator) -> Tensor:
        norms = torch.linalg.vector_norm(values, dim=1, keepdim=True)
        clipped = values * torch.clamp(self.config.clip_norm / norms.clamp(min=1e-12), max=1.0)
        return clipped + self._sigma * torch.randn(values.shape, generator=generator).to(values.device)
