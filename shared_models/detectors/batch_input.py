"""What training feeds into a detector's server part: scenes at the cut, still attached to the vehicle part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch

from shared_models.errors import InvalidValueError
from shared_models.records import SceneFeatures, SetFeatures
from shared_models.sparse.sites import Sites
from shared_models.sparse.tensor import SparseFeatures, collate


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInput:
    """Features of B scenes; gradients pass where the vehicle part is trained too.

    grid: conv_out cells of all scenes. keypoints: of each scene, None for detectors without them.
    """

    grid: SparseFeatures
    keypoints: tuple[SetFeatures, ...] | None = None

    def __post_init__(self) -> None:
        if self.keypoints is not None and len(self.keypoints) != len(self):
            raise InvalidValueError(
                f"BatchInput.keypoints: expected those of {len(self)} scenes, got {len(self.keypoints)}"
            )

    def __len__(self) -> int:
        return self.grid.sites.batch_size

    @classmethod
    def of(cls, scenes: Sequence[SceneFeatures]) -> Self:
        """Scenes as they lie in a store; keypoints only where all of them have some."""
        keypoints = tuple(scene.keypoints for scene in scenes if scene.keypoints is not None)
        return cls(
            grid=collate([scene.grid for scene in scenes]),
            keypoints=keypoints if len(keypoints) == len(scenes) else None,
        )

    def joined(self, other: Self) -> Self:
        """These scenes, then those of `other`.

        Raises:
            InvalidValueError: only one of the two has keypoints, or their maps have different sizes.
        """
        one, two = self.grid.sites, other.grid.sites
        if one.shape != two.shape or (self.keypoints is None) != (other.keypoints is None):
            raise InvalidValueError(
                f"BatchInput.joined: expected maps of one size and keypoints in both or in neither, "
                f"got maps {one.shape} and {two.shape}"
            )
        shift = two.coords.new_tensor((one.batch_size, 0, 0, 0))
        sites = Sites(
            coords=torch.cat((one.coords, two.coords + shift)),
            shape=one.shape,
            batch_size=one.batch_size + two.batch_size,
        )
        # In mixed precision one half can be shorter: cat takes the wider type.
        grid = SparseFeatures(sites=sites, features=torch.cat((self.grid.features, other.grid.features)))
        if self.keypoints is None or other.keypoints is None:
            return replace(self, grid=grid)
        return replace(self, grid=grid, keypoints=self.keypoints + other.keypoints)
