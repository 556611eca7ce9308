"""Guard `crop_boxes`: only what lies near the vehicle's own detections leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from shared_models.geometry.boxes import enlarge, points_in_boxes_mask
from shared_models.guard import Guard, GuardContext
from shared_models.guards.placing import cell_centres, chosen, required
from shared_models.records import Detections, SceneFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class CropToBoxesConfig:
    """What is kept.

    margin_m: added around each box on every side, metres; the height of cells does not matter.
    least_score: detections below it are not counted. What the vehicle does not find, the server will never learn.
    """

    margin_m: float = 2.0
    least_score: float = 0.1

    def __post_init__(self) -> None:
        check.number("CropToBoxesConfig", "margin_m", self.margin_m, 0, 100)
        check.number("CropToBoxesConfig", "least_score", self.least_score, 0, 1)


@final
class CropToBoxes(Guard):
    """Keeps cells and keypoints whose place, seen from above, lies in an enlarged detected box."""

    name = "crop_boxes"
    config_class = CropToBoxesConfig
    config: CropToBoxesConfig
    needs_detections = True

    def _change(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None
    ) -> SceneFeatures:
        known = required(self.name, context, with_detections=True)
        assert known.detections is not None
        boxes = self._areas(known.detections, features.grid.coords.device)
        near_cells = points_in_boxes_mask(_flat(cell_centres(features.grid, known)), boxes).any(1)
        keypoints = features.keypoints
        near_keypoints = None if keypoints is None else points_in_boxes_mask(_flat(keypoints.positions), boxes).any(1)
        return chosen(features, near_cells, near_keypoints)

    def _areas(self, detections: Detections, device: torch.device) -> Tensor:
        margin = 2 * self.config.margin_m
        boxes = enlarge(detections.boxes[detections.scores >= self.config.least_score], (margin, margin, margin))
        return torch.cat((boxes[:, :2], torch.zeros_like(boxes[:, 2:3]), boxes[:, 3:]), 1).to(device)


def _flat(positions: Tensor) -> Tensor:
    """The same places at height 0, where `_areas` puts the boxes."""
    return torch.cat((positions[:, :2], torch.zeros_like(positions[:, 2:3])), 1)
