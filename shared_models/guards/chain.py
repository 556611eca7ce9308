"""Several guards, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch

from shared_models.guard import Guard, GuardContext
from shared_models.records import SceneFeatures


@final
class Chain(Guard):
    """Applies each guard to what the one before left. Not in the table: `guards.build("a+b")` makes it."""

    name = "chain"

    def __init__(self, parts: Sequence[Guard]) -> None:
        super().__init__()
        self._parts = tuple(parts)

    @property
    def needs_detections(self) -> bool:  # type: ignore[override]
        """Whether one of the guards asks for them."""
        return any(part.needs_detections for part in self._parts)

    @property
    def parts(self) -> tuple[Guard, ...]:
        return tuple(each for part in self._parts for each in part.parts)

    def described(self) -> str:
        return "+".join(part.described() for part in self._parts)

    def _change(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None
    ) -> SceneFeatures:
        for part in self._parts:
            features = part.change(features, generator, context)
        return features
