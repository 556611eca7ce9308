"""Guard `coarse`: cells are merged into blocks, so that they say less exactly where something is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch

from shared_models.guard import Guard, GuardContext
from shared_models.records import GridFeatures, SceneFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class CoarseCellsConfig:
    """side: cells of a block in x and y; heights stay."""

    side: int = 2

    def __post_init__(self) -> None:
        check.count("CoarseCellsConfig", "side", self.side, 64)


@final
class CoarseCells(Guard):
    """Each block with active cells keeps one of them, its first possible one, with the mean of their features."""

    name = "coarse"
    config_class = CoarseCellsConfig
    config: CoarseCellsConfig

    def _change(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None
    ) -> SceneFeatures:
        grid, side = features.grid, self.config.side
        if len(grid) == 0:
            return features
        block = grid.coords.new_tensor((1, side, side))
        moved = torch.div(grid.coords, block, rounding_mode="floor") * block
        coords, rows, counts = torch.unique(moved, dim=0, return_inverse=True, return_counts=True)
        sums = grid.features.new_zeros((len(coords), grid.features.shape[1])).index_add_(0, rows, grid.features)
        merged = GridFeatures(coords=coords, features=sums / counts[:, None], shape=grid.shape)
        return replace(features, grid=merged)
