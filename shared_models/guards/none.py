"""Guard `none`: features leave as the backbone made them."""

from __future__ import annotations

from typing import final

import torch

from shared_models.guard import Guard
from shared_models.records import SceneFeatures


@final
class NoGuard(Guard):
    """Changes nothing."""

    name = "none"

    def apply(self, features: SceneFeatures, generator: torch.Generator) -> SceneFeatures:
        return features
