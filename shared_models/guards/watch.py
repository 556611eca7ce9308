"""Applying a guard and noticing where it finds nothing to change, which looks like protection and is none."""

from __future__ import annotations

import logging

import torch

from shared_models.guard import Guard, GuardContext
from shared_models.records import SceneFeatures

logger = logging.getLogger(__name__)

PATIENCE_SCENES = 20  # without a change, after which a guard that could change something is warned of


class GuardWatch:
    """Applies a guard to the scenes of a run and counts those that it changed."""

    def __init__(self, guard: Guard, patience_scenes: int = PATIENCE_SCENES) -> None:
        """patience_scenes: see `PATIENCE_SCENES`."""
        self.guard, self.scenes, self.changed = guard, 0, 0
        self._patience = patience_scenes
        self._idle = {part.described(): part for part in guard.parts}
        self._warned: set[str] = set()

    def apply(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None = None
    ) -> SceneFeatures:
        """What `Guard.apply` gives; warns in the log, once for each guard of a chain, where it changes nothing.

        At once where it never can (keypoints are moved, and there are none), else after some scenes.

        Raises:
            InvalidValueError: as `Guard.apply`.
        """
        current = features
        for part in self.guard.parts:
            before, current = current, part.change(current, generator, context)
            if part.described() in self._idle:
                self._look(part, before, current)
        self.scenes += 1
        self.changed += not is_same(features, current)
        return self.guard.marked(features, current)

    def finish(self) -> None:
        """The run is over: warn of what has changed nothing until now."""
        for part in tuple(self._idle.values()) if self.scenes else ():
            self._warn(part, f"it has changed none of {self.scenes} scenes")

    def _look(self, part: Guard, before: SceneFeatures, after: SceneFeatures) -> None:
        if not is_same(before, after):
            del self._idle[part.described()]
        elif part.needs_keypoints and after.keypoints is None:
            self._warn(part, "it changes keypoints only, and this detector has none")
        elif self.scenes + 1 >= self._patience:
            self._warn(part, f"it has changed none of {self.scenes + 1} scenes")

    def _warn(self, part: Guard, why: str) -> None:
        if part.described() not in self._warned:
            self._warned.add(part.described())
            logger.warning("GUARD WITHOUT EFFECT: %s: %s; features leave as without it", part.described(), why)


def is_same(first: SceneFeatures, second: SceneFeatures) -> bool:
    """Whether cells, keypoints and all their numbers are equal; what is said of guards does not count."""
    return _is_same_grid(first, second) and _is_same_set(first, second)


def _is_same_grid(first: SceneFeatures, second: SceneFeatures) -> bool:
    one, other = first.grid, second.grid
    return one is other or (torch.equal(one.coords, other.coords) and torch.equal(one.features, other.features))


def _is_same_set(first: SceneFeatures, second: SceneFeatures) -> bool:
    one, other = first.keypoints, second.keypoints
    if one is None or other is None:
        return one is other
    return one is other or (torch.equal(one.positions, other.positions) and torch.equal(one.features, other.features))
