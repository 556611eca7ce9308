"""Features mirrored, as a reader of raw-level methods would try it; the paper finds it harmful.

Sources: UpCycling's comparison of feature-level augmentations (ICCV 2023, supplement, Table 8; its definition is not
stated). The backbone is not symmetric: mirrored features are not the features of the mirrored scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from server.training.augment import AppliedTransform
from server.training.feature_augment import FeatureAugmentation
from server.training.features.geometry import FeatureMap
from server.training.features.scene import FeatureScan, moved_keypoints
from shared_models.errors import InvalidValueError
from shared_models.records import GridFeatures, check
from shared_models.sparse.sites import coords_from_keys

Mapping = Literal["exact", "naive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFlipConfig:
    """How often the scene is mirrored, and onto which cells.

    along_x_probability: of mirroring along the x axis (y becomes -y), 0 to 1.
    along_y_probability: of mirroring along the y axis (x becomes -x), 0 to 1; only for scans of the whole turn.
    mapping: "exact": to the cell nearest to the mirrored centre, i to H - i where the range is symmetric; row 0, whose
        image lies outside the map, is lost. "naive": i to H - 1 - i, the tensor reversed, off by almost a cell.
    """

    along_x_probability: float = 0.5
    along_y_probability: float = 0.0
    mapping: Mapping = "exact"

    def __post_init__(self) -> None:
        check.number("FeatureFlipConfig", "along_x_probability", self.along_x_probability, 0, 1)
        check.number("FeatureFlipConfig", "along_y_probability", self.along_y_probability, 0, 1)
        if self.mapping not in ("exact", "naive"):
            raise InvalidValueError(f"FeatureFlipConfig.mapping: expected exact or naive, got {self.mapping!r}")


class FeatureFlip(FeatureAugmentation):
    """Mirrors the scene along x, along y, both or not at all."""

    def __init__(self, config: FeatureFlipConfig, feature_map: FeatureMap) -> None:
        self.config, self.feature_map = config, feature_map

    def apply(self, scan: FeatureScan, rng: np.random.Generator) -> FeatureScan:
        along_x, along_y = rng.random(2)  # always two numbers, so that later draws do not depend on the setting
        transform = AppliedTransform(
            is_flipped_x=bool(along_x < self.config.along_x_probability),
            is_flipped_y=bool(along_y < self.config.along_y_probability),
        )
        return flip_scan(scan, transform, self.feature_map, self.config.mapping)


def flip_scan(
    scan: FeatureScan, transform: AppliedTransform, feature_map: FeatureMap, mapping: Mapping = "exact"
) -> FeatureScan:
    """Cells, keypoints and boxes mirrored by a transform that only mirrors."""
    grid = flip_cells(scan.features.grid, transform, feature_map, mapping)
    return scan.changed(grid, moved_keypoints(scan.features.keypoints, transform), transform.truth(scan.truth))


def flip_cells(
    grid: GridFeatures, transform: AppliedTransform, feature_map: FeatureMap, mapping: Mapping = "exact"
) -> GridFeatures:
    """The cells mirrored by a transform that only mirrors; those that leave the map are lost."""
    z, y, x = grid.coords.long().unbind(1)
    _, height, width = grid.shape
    if transform.is_flipped_x:
        y = _mirrored(y, height, feature_map.first_m[1], feature_map.step_m[1], mapping)
    if transform.is_flipped_y:
        x = _mirrored(x, width, feature_map.first_m[0], feature_map.step_m[0], mapping)
    is_kept = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    rows = is_kept.nonzero().squeeze(1)
    keys, order = ((z * height + y) * width + x)[rows].sort()
    return GridFeatures(
        coords=coords_from_keys(keys, grid.shape)[:, 1:].contiguous(),
        features=grid.features[rows[order]],
        shape=grid.shape,
    )


def _mirrored(index: Tensor, size: int, first_m: float, step_m: float, mapping: Mapping) -> Tensor:
    # The centre first + i step mirrored is -first - i step: index -2 first / step - i, rounded.
    total = size - 1 if mapping == "naive" else int(np.rint(-2 * first_m / step_m))
    return torch.full_like(index, total) - index
