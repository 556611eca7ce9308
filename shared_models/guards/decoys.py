"""Guard `decoys`: invented cells among the true ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch

from shared_models.guard import Guard, GuardContext
from shared_models.records import GridFeatures, SceneFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoyCellsConfig:
    """share: decoys per true cell."""

    share: float = 0.5

    def __post_init__(self) -> None:
        check.number("DecoyCellsConfig", "share", self.share, 0, 100)


@final
class DecoyCells(Guard):
    """Adds cells at random empty places, each with the features of a random true one. Keypoints stay."""

    name = "decoys"
    config_class = DecoyCellsConfig
    config: DecoyCellsConfig

    def _change(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None
    ) -> SceneFeatures:
        grid = features.grid
        _, height, width = grid.shape
        size = grid.shape[0] * height * width
        count = min(round(self.config.share * len(grid)), size - len(grid))
        if count == 0:
            return features
        keys = grid.keys()
        # As many places as there are true cells and decoys: however many of them are taken, enough are free.
        drawn = torch.randperm(size, generator=generator)[: count + len(grid)].to(keys.device)
        places = drawn[~torch.isin(drawn, keys)][:count]
        origins = torch.randint(len(grid), (count,), generator=generator).to(keys.device)
        together, order = torch.sort(torch.cat((keys, places)))
        values = torch.cat((grid.features, grid.features[origins]))[order]
        coords = torch.stack((together // (height * width), together // width % height, together % width), 1)
        return replace(features, grid=GridFeatures(coords=coords.int(), features=values, shape=grid.shape))
