"""The simplest attack: the middle of every active cell is a point. Needs nothing but a payload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from server.audit.attack import Reconstruction, ReconstructionAttack, Workbench
from server.audit.threat import AttackerView
from shared_models import codecs, guards
from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.errors import BackboneMismatchError, InvalidValueError
from shared_models.guards.coarse import CoarseCells
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveCellsConfig:
    """How a cell becomes points.

    heights: "cell" the middle of the cell; "ground" one point per column at `ground_z_m`; "column" points all the way
        up each active column, `column_step_m` apart.
    ground_z_m: height of the road in the LiDAR frame, metres (a roof's LiDAR is about 1.7 m above it).
    column_step_m: metres.
    points_per_side: points in x and y that fill a cell, or a block.
    block_side: cells in x and y that guard `coarse` merged into the one that is sent; 0 reads it in the payload's
        header.
    """

    heights: Literal["cell", "ground", "column"] = "cell"
    ground_z_m: float = -1.7
    column_step_m: float = 0.4
    points_per_side: int = 1
    block_side: int = 0

    def __post_init__(self) -> None:
        check.number("ActiveCellsConfig", "ground_z_m", self.ground_z_m, -10, 10)
        check.number("ActiveCellsConfig", "column_step_m", self.column_step_m, 0.01, 10)
        check.count("ActiveCellsConfig", "points_per_side", self.points_per_side, 32)
        check.count("ActiveCellsConfig", "block_side", self.block_side, 64, 0)


@final
class ActiveCells(ReconstructionAttack):
    """Which cells are active says where the laser hit something, whatever the features are."""

    name = "active_cells"
    config_class = ActiveCellsConfig
    config: ActiveCellsConfig
    _geometry: CutGeometry | None = None

    def prepare(self, view: AttackerView, bench: Workbench) -> None:
        self._geometry = view.geometry

    def reconstruct(self, payload: bytes) -> Reconstruction:
        geometry = self._geometry
        if geometry is None:
            raise InvalidValueError("active_cells: prepare it before it reconstructs")
        features = codecs.decode(payload)
        if features.split_layer != geometry.split_layer:
            raise BackboneMismatchError(
                f"payload: active_cells was prepared for {geometry.split_layer}, this is of {features.split_layer}; "
                f"prepare it for the layer that was uploaded"
            )
        coords = features.grid.coords.numpy().astype(np.int64)
        side = self.config.block_side or merged_side(features.guard)
        middles = coords + np.array([0.0, (side - 1) / 2, (side - 1) / 2])
        centres = self._at_heights(geometry.centres_m(middles), geometry)
        y, x = np.divmod(np.arange(side * side), side)
        cells = (coords[:, None, ::-1] + np.stack((x, y, 0 * x), 1)).reshape(-1, 3)
        return Reconstruction(
            points=self._filled(centres, geometry, side).astype(np.float32),
            cells=cells,
            cell_size_m=geometry.cell_size_m,
        )

    def _at_heights(self, centres: NDArray[np.float64], geometry: CutGeometry) -> NDArray[np.float64]:
        if self.config.heights == "cell":
            return centres
        columns = np.unique(centres[:, :2], axis=0)
        if self.config.heights == "ground":
            heights = np.array([self.config.ground_z_m])
        else:
            heights = np.arange(geometry.point_range_m[2], geometry.point_range_m[5], self.config.column_step_m)
        return np.column_stack((np.repeat(columns, len(heights), axis=0), np.tile(heights, len(columns))))

    def _filled(self, centres: NDArray[np.float64], geometry: CutGeometry, side: int) -> NDArray[np.float64]:
        count = self.config.points_per_side
        if count == 1:
            return centres
        steps = (np.arange(count) + 0.5) / count - 0.5
        size = np.array(geometry.cell_size_m) * side
        x, y = np.meshgrid(steps * size[0], steps * size[1])
        shifts = np.column_stack((x.ravel(), y.ravel(), np.zeros(count * count)))
        return np.asarray((centres[:, None] + shifts).reshape(-1, 3))


def merged_side(guard: str) -> int:
    """Cells in x and y of the blocks that a payload's guard, as its header describes it, has merged; 1 without any."""
    parts = guards.build(guard).parts if guard else ()
    return max((part.config.side for part in parts if isinstance(part, CoarseCells)), default=1)
