"""Interface of the guards: what a vehicle does to its features before they are encoded and leave it."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from shared_models.configuration import to_dict
from shared_models.records import Detections, SceneFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardContext:
    """What a vehicle knows of a scene beside its features.

    first_centre_m: x, y, z of the middle of cell (0, 0, 0), metres, LiDAR frame.
    cell_size_m: x, y, z distance from one cell to the next, metres.
    detections: what the vehicle found in the scene itself; None where its heads did not run.
    """

    first_centre_m: tuple[float, float, float]
    cell_size_m: tuple[float, float, float]
    detections: Detections | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSettings:
    """Nothing to set."""


class Guard(ABC):
    """Takes something away from the features of one scene, to make them say less about it.

    name: as in the table. config_class: its frozen configuration.
    needs_detections: whether it asks for the vehicle's own detections.
    needs_keypoints: whether it changes nothing where a detector has no keypoints.
    """

    name: ClassVar[str]
    config_class: ClassVar[type] = NoSettings
    needs_detections: ClassVar[bool] = False
    needs_keypoints: ClassVar[bool] = False

    def __init__(self, config: Any = None) -> None:
        self.config = self.config_class() if config is None else config

    def apply(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None = None
    ) -> SceneFeatures:
        """The features to encode in place of `features`, which stay as they are.

        Split layer and backbone hash are kept; `guard` says who was here. All randomness comes from `generator`, on the
        CPU, so that the same seed gives the same result.

        Raises:
            InvalidValueError: the guard needs more about the scene than `context` has.
        """
        return self.marked(features, self._change(features, generator, context))

    def marked(self, features: SceneFeatures, changed: SceneFeatures) -> SceneFeatures:
        """`changed`, which this guard made of `features`, with the mark that it was here."""
        before = f"{features.guard}+" if features.guard else ""
        return replace(changed, guard=before + self.described())

    @property
    def parts(self) -> tuple[Guard, ...]:
        """The guards that are applied one after the other; of most only itself."""
        return (self,)

    def change(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None = None
    ) -> SceneFeatures:
        """What `apply` gives, without the mark: for a chain, which leaves one mark for all its parts."""
        return self._change(features, generator, context)

    @abstractmethod
    def _change(
        self, features: SceneFeatures, generator: torch.Generator, context: GuardContext | None
    ) -> SceneFeatures:
        """`change`, as each guard does it."""

    def described(self) -> str:
        """Name and all settings in one line, `name,key=value,...`, equal for equal guards; `guards.build` takes it."""
        settings = sorted(to_dict(self.config).items())
        words = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings]
        return ",".join((self.name, *words))

    @property
    def settings_hash(self) -> str:
        """SHA-256 (hex) of name and settings; see `hash_of`."""
        return hash_of(self.described())


def hash_of(description: str) -> str:
    """SHA-256 (hex) that names a guard by its `described()`; reports and policies are about one such hash."""
    return hashlib.sha256(f"upcycle.guard.v1\n{description}".encode()).hexdigest()
