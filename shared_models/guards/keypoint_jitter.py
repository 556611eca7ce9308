"""Guard `keypoint_jitter`: keypoints are no longer exactly points of the scan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch

from shared_models.guard import Guard, GuardContext
from shared_models.records import SceneFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypointJitterConfig:
    """sigma_m: standard deviation on each axis, metres."""

    sigma_m: float = 0.1

    def __post_init__(self) -> None:
        check.number("KeypointJitterConfig", "sigma_m", self.sigma_m, 0, 100)


@final
class KeypointJitter(Guard):
    """Adds normally distributed noise to the keypoints' positions. Their features and the cells stay."""

    name = "keypoint_jitter"
    config_class = KeypointJitterConfig
    config: KeypointJitterConfig
    needs_keypoints = True

    def _change(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None
    ) -> SceneFeatures:
        keypoints = features.keypoints
        if keypoints is None:
            return features
        noise = torch.randn(keypoints.positions.shape, generator=generator).to(keypoints.positions.device)
        moved = keypoints.positions + self.config.sigma_m * noise
        return replace(features, keypoints=replace(keypoints, positions=moved))
