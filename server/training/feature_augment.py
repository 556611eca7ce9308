"""The interface of an augmentation of features: no raw points are needed, and the backbone is not run again.

Implementations and their table are in `server.training.features`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from server.training.features.scene import FeatureScan


class FeatureAugmentation(ABC):
    """A random change of a scene's features and boxes; a function of scan and generator alone, which keeps no state."""

    @abstractmethod
    def apply(self, scan: FeatureScan, rng: np.random.Generator) -> FeatureScan:
        """The scan changed, on its device, with as many keypoints as before. `scan` itself stays as it is."""
