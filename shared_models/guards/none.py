"""Guard `none`: features leave as the backbone made them."""

from __future__ import annotations

from typing import final

import torch

from shared_models.guard import Guard, GuardContext
from shared_models.records import SceneFeatures


@final
class NoGuard(Guard):
    """Changes nothing and leaves no mark."""

    name = "none"

    def apply(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None = None
    ) -> SceneFeatures:
        return features

    def marked(self, features: SceneFeatures, changed: SceneFeatures) -> SceneFeatures:
        return changed

    @property
    def parts(self) -> tuple[Guard, ...]:
        return ()

    def _change(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None
    ) -> SceneFeatures:
        return features
