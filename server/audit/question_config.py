"""Scenes for attacks that answer a question: has it been here, was it learned from, which sensor was it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from server.training.source_config import SourceConfig
from shared_models.errors import InvalidValueError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceConfig:
    """Drives that pass the same places, for retrieval attacks.

    name, relation: for reports, as of victims.
    frames: all drives together. An effort takes the first ones, so drives along one street have to follow each other.
    radius_m: scenes of two drives along one street that were taken within this distance are of the same place, metres.
    """

    name: str
    relation: str
    frames: SourceConfig
    radius_m: float = 5.0

    def __post_init__(self) -> None:
        check_group_name("PlaceConfig", self.name)
        check.name("PlaceConfig", "relation", self.relation)
        check.number("PlaceConfig", "radius_m", self.radius_m, 0.01, 10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipConfig:
    """Scenes that a published detector learned from and scenes that it did not, for membership attacks.

    name, relation: for reports, as of victims.
    members: it learned from all of them. others: of the same kind, and it learned from none.
    checkpoint: the published detector; "" is the audited one. Its vehicle part must be the one that made the payloads.
    reference: a detector with the same vehicle part that learned from neither, for threats that give one; "" is none.
    """

    name: str
    relation: str
    members: SourceConfig
    others: SourceConfig
    checkpoint: str = ""
    reference: str = ""

    def __post_init__(self) -> None:
        check_group_name("MembershipConfig", self.name)
        check.name("MembershipConfig", "relation", self.relation)


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyValue:
    """Scenes of one value of a property.

    value: in words ("rain"). attacker: the attacker's own. victims: attacked.
    """

    value: str
    attacker: SourceConfig
    victims: SourceConfig

    def __post_init__(self) -> None:
        check.name("PropertyValue", "value", self.value, 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyConfig:
    """A property with at least two values, for property attacks.

    name: of the property ("sensor", "city", "weather"). relation: in words, of victims to the attacker's own scenes.
    """

    name: str
    relation: str
    values: tuple[PropertyValue, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        check_group_name("PropertyConfig", self.name)
        check.name("PropertyConfig", "relation", self.relation)
        words = [each.value for each in self.values]
        if len(words) < 2 or len(set(words)) != len(words):
            raise InvalidValueError(f"PropertyConfig.values: expected at least two different values, got {words}")


def check_group_name(owner: str, name: str) -> None:
    """A name that can stand in reports and in the names of kept clouds."""
    check.name(owner, "name", name, 60)
    if "|" in name:
        raise InvalidValueError(f"{owner}.name: expected no '|', got {name!r}")


def check_different(owner: str, what: str, names: Sequence[str]) -> None:
    """Each name comes once."""
    if len(set(names)) != len(names):
        raise InvalidValueError(f"{owner}.{what}: expected different names, got {list(names)}")
