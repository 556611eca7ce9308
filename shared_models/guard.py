"""Interface of the guards: what a vehicle does to its features before they are encoded and leave it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from shared_models.records import SceneFeatures


class Guard(ABC):
    """Takes something away from the features of one scene, to make them say less about it."""

    name: ClassVar[str]

    @abstractmethod
    def apply(self, features: SceneFeatures, generator: torch.Generator) -> SceneFeatures:
        """The features to encode in place of `features`, which stay as they are.

        Split layer and backbone hash are kept. All randomness comes from `generator`, on the CPU, so that the
        same seed gives the same result.
        """
