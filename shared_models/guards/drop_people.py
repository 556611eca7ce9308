"""Guard `drop_people`: points on people, who did not agree to anything, do not leave the vehicle."""

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
class DropPeopleConfig:
    """Who is dropped.

    class_names: of the detector's classes, with blanks between them.
    margin_m: added around each box on every side, metres.
    least_score: detections below it are not counted; who is not found is not dropped.
    drops_cells: also drop the cells whose middle lies in such a box.
    """

    class_names: str = "Pedestrian Cyclist"
    margin_m: float = 0.3
    least_score: float = 0.1
    drops_cells: bool = False

    def __post_init__(self) -> None:
        check.name("DropPeopleConfig", "class_names", self.class_names)
        check.number("DropPeopleConfig", "margin_m", self.margin_m, 0, 100)
        check.number("DropPeopleConfig", "least_score", self.least_score, 0, 1)


@final
class DropPeople(Guard):
    """Drops keypoints inside detected people, and their cells where that is asked for."""

    name = "drop_people"
    config_class = DropPeopleConfig
    config: DropPeopleConfig
    needs_detections = True

    @property
    def needs_keypoints(self) -> bool:  # type: ignore[override]
        return not self.config.drops_cells

    def _change(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None
    ) -> SceneFeatures:
        known = required(self.name, context, with_detections=True)
        assert known.detections is not None
        boxes = self._people(known.detections).to(features.grid.coords.device)
        keypoints = features.keypoints
        kept_keypoints = None if keypoints is None else ~points_in_boxes_mask(keypoints.positions, boxes).any(1)
        kept_cells = torch.ones(len(features.grid), dtype=torch.bool, device=boxes.device)
        if self.config.drops_cells:
            kept_cells = ~points_in_boxes_mask(cell_centres(features.grid, known), boxes).any(1)
        return chosen(features, kept_cells, kept_keypoints)

    def _people(self, found: Detections) -> Tensor:
        names = self.config.class_names.split()
        labels = [index for index, name in enumerate(found.class_names) if name in names]
        is_person = torch.isin(found.labels, found.labels.new_tensor(labels)) & (
            found.scores >= self.config.least_score
        )
        return enlarge(found.boxes[is_person], (2 * self.config.margin_m,) * 3)
