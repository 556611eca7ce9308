"""The threat model as types: what an attacker holds, and nothing beside it.

An attack gets an `AttackerView` and has no other way to the scenes. A `Threat` names which abilities it gives; an
attack says in `needs` which it cannot do without, and is refused where the threat lacks one. The scans behind the
payloads are in `server.audit.scenes.SceneTruth`, which only `server.audit.scores` reads.

The words (goal, knowledge, capability) are those of NIST AI 100-2 E2025.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from shared_models.backbones.cut_geometry import CutGeometry
from shared_models.detector import Detector
from shared_models.errors import InvalidValueError
from shared_models.records import check


class Ability(StrEnum):
    """What an attacker may have beside the stored payloads and public knowledge.

    WHITE_BOX: the detector with all weights, as it is in every vehicle and checkpoint.
    QUERY: a vehicle that answers with the payload of any scan it is shown (backbone, guard and codec as a black box).
    PAIRED: scans of the attacker's own, with their payloads.
    REFERENCE: another published detector with the same vehicle part, that has not learned from the scenes in question
        (the one that a round of training began with).
    """

    WHITE_BOX = "white_box"
    QUERY = "query"
    PAIRED = "paired"
    REFERENCE = "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much an attack may spend.

    steps: of training, or of the search for one scene. seconds: of all of an attack's preparation.
    scenes: paired scans of the attacker's own. queries: asked of the black box.
    """

    steps: int = 2000
    seconds: float = 3600.0
    scenes: int = 200
    queries: int = 10_000

    def __post_init__(self) -> None:
        check.count("Budget", "steps", self.steps, 10**9, 0)
        check.number("Budget", "seconds", self.seconds, 0, 10**7)
        check.count("Budget", "scenes", self.scenes, 10**7, 0)
        check.count("Budget", "queries", self.queries, 10**9, 0)

    def steps_of(self, asked: int) -> int:
        """The steps of an attack whose settings ask for so many; 0 asks for all that there are."""
        return min(asked, self.steps) if asked else self.steps


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedScene:
    """A scan of the attacker's own, and the payload that a vehicle with the same guard and codec makes of it.

    points: (N, 4) float32 [x y z intensity], metres, LiDAR frame, intensity 0 to 1, inside the range.
    properties: what the attacker knows about it ("sensor", "city", "weather", "drive", ...).
    """

    points: NDArray[np.float32]
    payload: bytes
    properties: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check.shape("PairedScene", "points", self.points, (None, 4))
        check.dtype("PairedScene", "points", self.points, np.float32)


Query = Callable[[NDArray[np.float32]], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackerView:
    """All that an attack sees. What its threat does not give is not in here.

    threat: name of the threat. geometry: public knowledge about the uploaded layer.
    payloads: the victims' stored payloads, exactly as guard and codec left them.
    budget: what the attack may spend; it is asked to keep to it, and what it spent is reported.
    origin: where the paired scans come from ("the same city and sensor", ...), "" without any.
    detector, query, paired, reference: use `white_box()`, `ask()`, `own_scenes()` and `other_detector()`, which say
        what is missing.
    """

    threat: str
    geometry: CutGeometry
    payloads: tuple[bytes, ...]
    budget: Budget
    origin: str = ""
    detector: Detector | None = None
    query: Query | None = None
    paired: tuple[PairedScene, ...] | None = None
    reference: Detector | None = None

    def white_box(self) -> Detector:
        """The detector with all weights, frozen and in evaluation mode.

        Raises:
            InvalidValueError: the threat does not give it.
        """
        if self.detector is None:
            raise self._refusal(Ability.WHITE_BOX)
        return self.detector

    def ask(self, points: NDArray[np.float32]) -> bytes:
        """The payload that a vehicle makes of a scan (N, 4) float32.

        Raises:
            InvalidValueError: the threat does not give it.
        """
        if self.query is None:
            raise self._refusal(Ability.QUERY)
        return self.query(points)

    def own_scenes(self) -> tuple[PairedScene, ...]:
        """The attacker's own scans with their payloads.

        Raises:
            InvalidValueError: the threat does not give them.
        """
        if self.paired is None:
            raise self._refusal(Ability.PAIRED)
        return self.paired

    def other_detector(self) -> Detector:
        """A detector with the same vehicle part that has not learned from the scenes in question.

        Raises:
            InvalidValueError: the threat does not give it.
        """
        if self.reference is None:
            raise self._refusal(Ability.REFERENCE)
        return self.reference

    @property
    def abilities(self) -> frozenset[Ability]:
        """What is in this view beside payloads and public knowledge."""
        given = {
            Ability.WHITE_BOX: self.detector,
            Ability.QUERY: self.query,
            Ability.PAIRED: self.paired,
            Ability.REFERENCE: self.reference,
        }
        return frozenset(ability for ability, gift in given.items() if gift is not None)

    def restricted_to(self, abilities: frozenset[Ability]) -> AttackerView:
        """The same view without the abilities that are not in `abilities`."""
        return replace(
            self,
            detector=self.detector if Ability.WHITE_BOX in abilities else None,
            query=self.query if Ability.QUERY in abilities else None,
            paired=self.paired if Ability.PAIRED in abilities else None,
            reference=self.reference if Ability.REFERENCE in abilities else None,
            origin=self.origin if Ability.PAIRED in abilities else "",
        )

    def _refusal(self, ability: Ability) -> InvalidValueError:
        given = ", ".join(sorted(self.abilities)) or "nothing beside the payloads"
        return InvalidValueError(
            f"threat {self.threat!r}: the attack reached for {ability.value}, the view gives it {given}; "
            f"list {ability.value} in the attack's needs and in the threat's gives"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Threat:
    """A named composition of abilities.

    name: for people and reports.
    gives: abilities beside the stored payloads, which every threat has.
    origin: in words, how the attacker's own scans relate to the victims' ("the same city and sensor").
    budget: of each attack.
    """

    name: str = "stored payloads"
    gives: tuple[Ability, ...] = ()
    origin: str = ""
    budget: Budget = Budget()

    def __post_init__(self) -> None:
        check.name("Threat", "name", self.name, 80)
        if len(set(self.gives)) != len(self.gives):
            raise InvalidValueError(f"Threat.gives: expected each ability once, got {self.gives}")
        if (Ability.PAIRED in self.gives) != bool(self.origin):
            raise InvalidValueError(
                f"Threat {self.name!r}: an attacker with paired scans needs an origin that says where they come from, "
                f"and only he; gives {tuple(self.gives)}, origin {self.origin!r}"
            )

    def missing(self, needs: frozenset[Ability]) -> frozenset[Ability]:
        """Abilities that an attack needs and this threat does not give."""
        return needs - frozenset(self.gives)

    def require(self, attack: str, needs: frozenset[Ability]) -> None:
        """The threat gives all that an attack needs.

        Raises:
            InvalidValueError: it does not; the message names what is missing.
        """
        missing = self.missing(needs)
        if missing:
            raise InvalidValueError(
                f"attack {attack!r} needs {', '.join(sorted(missing))}, which threat {self.name!r} does not give; "
                f"add it to the threat's gives, or leave the attack out"
            )
