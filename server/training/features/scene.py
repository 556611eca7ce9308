"""What a recipe learns from where it has no raw points: features of a scene with boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from server.training.augment import AppliedTransform
from server.training.samples import Truth
from shared_models.records import GridFeatures, SceneFeatures, SetFeatures, check


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureScan:
    """One scene's features with its boxes, as feature-level augmentations take it.

    scene_id: of the stored scene, or of the labelled frame that the features were made of.
    truth: of an unlabelled scene its pseudo labels so far; may be empty.
    """

    scene_id: str
    features: SceneFeatures
    truth: Truth

    def __post_init__(self) -> None:
        check.name("FeatureScan", "scene_id", self.scene_id)

    def changed(self, grid: GridFeatures, keypoints: SetFeatures | None, truth: Truth | None = None) -> FeatureScan:
        """The scan with other features, and other boxes where they are given."""
        features = replace(self.features, grid=grid, keypoints=keypoints)
        return replace(self, features=features, truth=self.truth if truth is None else truth)


def moved_keypoints(keypoints: SetFeatures | None, transform: AppliedTransform) -> SetFeatures | None:
    """Keypoints with their positions transformed; their features stay as they are."""
    if keypoints is None or transform.is_identity:
        return keypoints
    images = torch.from_numpy(transform.points(np.eye(3, dtype=np.float32)))  # of the three axes, in rows
    positions = keypoints.positions @ images.to(keypoints.positions.device)
    return replace(keypoints, positions=positions)
