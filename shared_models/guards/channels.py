"""Guard `channels`: only some of the channels leave the vehicle, the others are zero."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from shared_models.guard import Guard, GuardContext
from shared_models.records import SceneFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPruningConfig:
    """Which channels are kept: the same in every scene, so that the choice says nothing about one.

    share: of the channels that is kept, of cells and of keypoints. seed: of the draw.
    """

    share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        check.number("ChannelPruningConfig", "share", self.share, 0, 1)
        check.count("ChannelPruningConfig", "seed", self.seed, 2**32 - 1, 0)


@final
class ChannelPruning(Guard):
    """Zeroes a fixed draw of channels; shapes stay, so that every detector still takes the features."""

    name = "channels"
    config_class = ChannelPruningConfig
    config: ChannelPruningConfig

    def _change(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None
    ) -> SceneFeatures:
        keypoints = features.keypoints
        if keypoints is not None:
            keypoints = replace(keypoints, features=self._pruned(keypoints.features))
        return replace(
            features, grid=replace(features.grid, features=self._pruned(features.grid.features)), keypoints=keypoints
        )

    def _pruned(self, values: Tensor) -> Tensor:
        channels = values.shape[1]
        drawn = torch.randperm(channels, generator=torch.Generator().manual_seed(self.config.seed))
        is_kept = torch.zeros(channels, dtype=torch.bool)
        is_kept[drawn[: round(self.config.share * channels)]] = True
        return torch.where(is_kept.to(values.device), values, 0.0)
