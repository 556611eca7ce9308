"""RS of the paper's comparison, of which only the name is known: random sampling, or random scaling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from server.training.augment import AppliedTransform
from server.training.feature_augment import FeatureAugmentation
from server.training.features.geometry import FeatureMap
from server.training.features.pasting import fill_up
from server.training.features.scene import FeatureScan
from server.training.features.warp import warp_scan
from shared_models.errors import InvalidValueError
from shared_models.records import GridFeatures, SetFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRandomSamplingConfig:
    """Which reading of the name, and how strong.

    reading: "sample": cells and keypoints are left out at random, as SESS (Zhao et al., CVPR 2020) sub-samples points.
        "resize": the scene is scaled about the origin, planes by bilinear interpolation.
    keep_probability: of each active cell, and the part of the keypoints that stays, 0 to 1.
    min_scale, max_scale: the scale is drawn evenly between them; OpenPCDet's 0.95 and 1.05 for raw points.
    """

    reading: Literal["sample", "resize"] = "sample"
    keep_probability: float = 0.8
    min_scale: float = 0.95
    max_scale: float = 1.05

    def __post_init__(self) -> None:
        check.number("FeatureRandomSamplingConfig", "keep_probability", self.keep_probability, 0, 1)
        check.number("FeatureRandomSamplingConfig", "min_scale", self.min_scale, 0.1, self.max_scale)
        check.number("FeatureRandomSamplingConfig", "max_scale", self.max_scale, self.min_scale, 10)
        if self.reading not in ("sample", "resize"):
            raise InvalidValueError(
                f"FeatureRandomSamplingConfig.reading: expected sample or resize, got {self.reading!r}"
            )


class FeatureRandomSampling(FeatureAugmentation):
    """Keeps a random part of the cells and keypoints; keypoints are repeated up to their number."""

    def __init__(self, config: FeatureRandomSamplingConfig, feature_map: FeatureMap) -> None:
        self.config, self.feature_map = config, feature_map

    def apply(self, scan: FeatureScan, rng: np.random.Generator) -> FeatureScan:
        if self.config.reading == "resize":
            scale = float(rng.uniform(self.config.min_scale, self.config.max_scale))
            return warp_scan(scan, AppliedTransform(scale=scale), self.feature_map)
        grid, keypoints = scan.features.grid, scan.features.keypoints
        kept = np.flatnonzero(rng.random(len(grid)) < self.config.keep_probability)
        rows = torch.from_numpy(kept).to(grid.coords.device)
        thinned = GridFeatures(coords=grid.coords[rows], features=grid.features[rows], shape=grid.shape)
        return scan.changed(thinned, None if keypoints is None else self._thinned(keypoints, rng))

    def _thinned(self, keypoints: SetFeatures, rng: np.random.Generator) -> SetFeatures:
        count = len(keypoints)
        kept = fill_up(np.arange(count), max(round(count * self.config.keep_probability), min(count, 1)), rng)
        rows = torch.from_numpy(fill_up(kept, count, rng)).to(keypoints.positions.device)
        return SetFeatures(positions=keypoints.positions[rows], features=keypoints.features[rows])
