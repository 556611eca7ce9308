"""Guard `crop_corridor`: only the road ahead leaves the vehicle, not what stands beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from shared_models.guard import Guard, GuardContext
from shared_models.guards.placing import cell_centres, chosen, required
from shared_models.records import SceneFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class CropToCorridorConfig:
    """The corridor, a rectangle around the vehicle: a stand-in for the drivable area where there is no map.

    half_width_m: to the left and to the right, metres. reach_m: ahead and behind, metres.
    """

    half_width_m: float = 10.0
    reach_m: float = 40.0

    def __post_init__(self) -> None:
        check.number("CropToCorridorConfig", "half_width_m", self.half_width_m, 0, 10_000)
        check.number("CropToCorridorConfig", "reach_m", self.reach_m, 0, 10_000)


@final
class CropToCorridor(Guard):
    """Keeps cells and keypoints in the corridor."""

    name = "crop_corridor"
    config_class = CropToCorridorConfig
    config: CropToCorridorConfig

    def _change(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None
    ) -> SceneFeatures:
        keypoints = features.keypoints
        cells = self._is_inside(cell_centres(features.grid, required(self.name, context)))
        return chosen(features, cells, None if keypoints is None else self._is_inside(keypoints.positions))

    def _is_inside(self, positions: Tensor) -> Tensor:
        x, y = positions[:, 0].abs(), positions[:, 1].abs()
        return (x <= self.config.reach_m) & (y <= self.config.half_width_m)
