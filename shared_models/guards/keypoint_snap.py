"""Guard `keypoint_snap`: keypoints say no more than the middle of the cell they lie in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch

from shared_models.guard import Guard, GuardContext
from shared_models.guards.placing import required
from shared_models.records import SceneFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypointSnapConfig:
    """parts: into which a cell is cut on each axis before; 1 snaps to the cells themselves."""

    parts: int = 1

    def __post_init__(self) -> None:
        check.count("KeypointSnapConfig", "parts", self.parts, 64)


@final
class KeypointSnap(Guard):
    """Moves each keypoint to the nearest middle of a cell. Their features and the cells stay."""

    name = "keypoint_snap"
    config_class = KeypointSnapConfig
    config: KeypointSnapConfig
    needs_keypoints = True

    def _change(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None
    ) -> SceneFeatures:
        known, keypoints = required(self.name, context), features.keypoints
        if keypoints is None:
            return features
        first = keypoints.positions.new_tensor(known.first_centre_m)
        step = keypoints.positions.new_tensor(known.cell_size_m) / self.config.parts
        snapped = first + torch.round((keypoints.positions - first) / step) * step
        return replace(features, keypoints=replace(keypoints, positions=snapped))
