"""Interfaces of the attacks. Implementations and their table are in `server.audit.attacks`.

An attack is made with its own frozen configuration, prepared once on an `AttackerView` that holds no more than its
`needs`, and then shown the victims' payloads one by one. It never sees the scans behind them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from server.audit.threat import Ability, AttackerView
from shared_models.errors import InvalidValueError
from shared_models.records import Detections, check

Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Shows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """What an attack works with beside its view.

    seed: of all its randomness. device: where networks run, as torch names it.
    folder: the attack's own, for what a long preparation needs to go on after an interruption; None keeps nothing.
        Files there are written whole (`server.training.atomic_files.write_whole`) and belong to this view and config.
    progress: told of (steps done, steps in all) of the preparation.
    """

    seed: int = 0
    device: str = "cpu"
    folder: Path | None = None
    progress: Progress = no_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """What an attack makes of one payload; N = 0 is valid.

    points: (N, 3) float32 [x y z] or (N, 4) float32 [x y z intensity], metres, LiDAR frame.
    confidence: (N,) float32, 0 to 1, how sure the attack is of each point; None where it does not say.
    cells: (V, 3) int64 [x y z] cells that it takes for occupied, counted from the minimum of the range; None where it
        does not say. cell_size_m: x, y, z of such a cell, metres.
    """

    points: NDArray[np.float32]
    confidence: NDArray[np.float32] | None = None
    cells: NDArray[np.int64] | None = None
    cell_size_m: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        check.dtype("Reconstruction", "points", self.points, np.float32)
        if self.points.ndim != 2 or self.points.shape[1] not in (3, 4):
            raise InvalidValueError(f"Reconstruction.points: expected (N, 3) or (N, 4), got {self.points.shape}")
        if not np.isfinite(self.points).all():
            raise InvalidValueError("Reconstruction.points: expected finite numbers, got NaN or infinity")
        if self.confidence is not None:
            check.shape("Reconstruction", "confidence", self.confidence, (len(self.points),))
        if (self.cells is None) != (self.cell_size_m is None):
            raise InvalidValueError("Reconstruction: expected cells and cell_size_m, or neither of them")
        if self.cells is not None:
            check.shape("Reconstruction", "cells", self.cells, (None, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """steps: of training, 0 without any. is_cut: seconds ran out before them, so the machine's speed matters."""

    steps: int = 0
    is_cut: bool = False


class Attack(ABC):
    """What all families share.

    name: as in its table. config_class: its frozen configuration.
    needs: abilities without which it cannot work. may_use: those that it also uses where the threat gives them. It gets
        no others.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[Ability]] = frozenset()
    may_use: ClassVar[frozenset[Ability]] = frozenset()
    config_class: ClassVar[type]

    def __init__(self, config: Any = None) -> None:
        self.config = self.config_class() if config is None else config

    def required(self) -> frozenset[Ability]:
        """What it cannot work without as it is configured: `needs`, and what settings ask for beside them."""
        return self.needs

    @abstractmethod
    def prepare(self, view: AttackerView, bench: Workbench) -> None:
        """Learn what can be learned before a victim's payload is looked at: train, collect statistics, ask.

        The same view, configuration and seed give the same attack. Called anew after an interruption, it goes on from
        what is in `bench.folder`.

        Raises:
            InvalidValueError: the view lacks what the attack needs, or holds too few scenes.
        """

    def spent(self) -> Spent:
        """What the preparation took; attacks that train say so."""
        return Spent()


class ReconstructionAttack(Attack):
    """Gives back a scan."""

    @abstractmethod
    def reconstruct(self, payload: bytes) -> Reconstruction:
        """The scan that the attack takes to be behind `payload`. The same payload gives the same scan.

        Raises:
            SenderError: the payload is damaged, or of another layer or backbone than the attack was prepared for.
        """


class ObjectAttack(Attack):
    """Finds objects in what a reconstruction attack gave back.

    config: has `on`, the title of that attack in the audit.
    """

    @abstractmethod
    def detect(self, points: NDArray[np.float32]) -> Detections:
        """What is found in a restored scan (N, 3) [x y z] or (N, 4) [x y z intensity] float32, metres, LiDAR frame."""


class RetrievalAttack(Attack):
    """Tells places again: payloads of one place have descriptors close to each other."""

    @abstractmethod
    def describe(self, payload: bytes) -> NDArray[np.float32]:
        """(D,) float32 descriptor of the place; two are compared by their Euclidean distance.

        Raises:
            SenderError: the payload is damaged, or of another layer or backbone than the attack was prepared for.
        """


class MembershipAttack(Attack):
    """Tells whether a scene was in the training set of the published detector, which is the view's white box."""

    @abstractmethod
    def membership_score(self, payload: bytes) -> float:
        """Higher means: more likely that the detector was trained with this scene.

        Raises:
            SenderError: the payload is damaged, or of another layer or backbone than the detector's.
        """


class PropertyAttack(Attack):
    """Tells a property of the scene or the vehicle: its sensor, city, time of day, weather.

    The attacker's own scenes have its value in their `properties` under `property_name`, which is set before `prepare`.
    """

    property_name: str = ""

    @abstractmethod
    def predict(self, payload: bytes) -> str:
        """The value of the property, one of those of the attacker's own scenes.

        Raises:
            SenderError: the payload is damaged, or of another layer or backbone than the attack was prepared for.
        """
