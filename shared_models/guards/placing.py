"""Where the cells of a scene lie, and keeping some of them: what several guards need."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from shared_models.errors import InvalidValueError
from shared_models.guard import GuardContext
from shared_models.records import GridFeatures, SceneFeatures, SetFeatures


def required(guard: str, context: GuardContext | None, with_detections: bool = False) -> GuardContext:
    """`context`, which a guard cannot do without.

    Raises:
        InvalidValueError: it is missing, or has no detections where they are needed.
    """
    if context is None:
        raise InvalidValueError(f"guard {guard}: it needs to know where the cells lie, and was told nothing")
    if with_detections and context.detections is None:
        raise InvalidValueError(
            f"guard {guard}: it needs the vehicle's own detections; run the detector's heads on the vehicle too"
        )
    return context


def cell_centres(grid: GridFeatures, context: GuardContext) -> Tensor:
    """(V, 3) float32 [x y z], metres: the middle of each cell."""
    first = grid.features.new_tensor(context.first_centre_m)
    return first + grid.coords.flip(1).to(grid.features.dtype) * grid.features.new_tensor(context.cell_size_m)


def chosen(features: SceneFeatures, cells: Tensor, keypoints: Tensor | None) -> SceneFeatures:
    """Only these cells (V,) bool, and of the keypoints only these (K,) bool."""
    grid, points = features.grid, features.keypoints
    kept = GridFeatures(coords=grid.coords[cells], features=grid.features[cells], shape=grid.shape)
    if points is not None and keypoints is not None:
        points = SetFeatures(positions=points.positions[keypoints], features=points.features[keypoints])
    return replace(features, grid=kept, keypoints=points)
