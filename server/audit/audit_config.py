"""Audit files: one complete TOML file says everything that an audit depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from server.audit.attack import (
    Attack,
    MembershipAttack,
    ObjectAttack,
    PropertyAttack,
    ReconstructionAttack,
    RetrievalAttack,
)
from server.audit.attacks import attack_class
from server.audit.intervals import IntervalConfig
from server.audit.question_config import (
    MembershipConfig,
    PlaceConfig,
    PropertyConfig,
    check_different,
    check_group_name,
)
from server.audit.results import file_stem
from server.audit.scores import MeasureConfig
from server.audit.threat import Ability, Budget, Threat
from server.training.run_config import changed, read_table
from server.training.source_config import SourceConfig
from shared_models import guards
from shared_models.configuration import from_dict, to_dict
from shared_models.errors import ConfigError, InvalidValueError, UnknownNameError
from shared_models.records import check


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorChoice:
    """The frozen detector of the fleet.

    checkpoint: folder of a checkpoint, which brings its own configuration; "" takes seeded, untrained weights.
    name, setting, seed: of the detector without a checkpoint, as in `shared_models.detectors`.
    """

    checkpoint: str = ""
    name: str = "second_iou"
    setting: str = "tiny"
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadConfig:
    """What leaves a vehicle.

    codec: as in `shared_models.codecs`. guard: as `shared_models.guards.build` takes it.
    split_layer: conv_out; the paper's decoders are also set on conv1 and conv3, which no vehicle sends.
    """

    codec: str = "float16"
    guard: str = "none"
    split_layer: str = "conv_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class VictimConfig:
    """One group of scenes that are attacked; each group is reported on its own.

    name: for reports. frames: where they come from.
    relation: in words, how they relate to the attacker's own scans ("other drives of the same city and sensor").
    optional: where the folder of the frames is not there, the audit goes on without them and its report says so.
    """

    name: str
    frames: SourceConfig
    relation: str
    optional: bool = False

    def __post_init__(self) -> None:
        check_group_name("VictimConfig", self.name)
        check.name("VictimConfig", "relation", self.relation)

    @property
    def is_left_out(self) -> bool:
        """Whether the scenes are optional and not there."""
        return self.optional and bool(self.frames.root) and not Path(self.frames.root).exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatConfig:
    """A named threat: abilities beside the stored payloads, and where the attacker's own scans come from, in words."""

    name: str
    gives: tuple[Literal["white_box", "query", "paired", "reference"], ...] = ()
    origin: str = ""

    def __post_init__(self) -> None:
        self.with_budget(Budget())  # checks itself

    def with_budget(self, budget: Budget) -> Threat:
        """The threat with what each of its attacks may spend."""
        gives = tuple(Ability(word) for word in self.gives)
        return Threat(name=self.name, gives=gives, origin=self.origin, budget=budget)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackConfig:
    """One attack of the audit.

    attack: as in `server.audit.attacks`. threat: name of the threat it works under. label: for reports, the attack's
    name unless given. settings: of the attack's own configuration.
    """

    attack: str
    threat: str
    label: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """How reports call it."""
        return self.label or self.attack


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much work an audit is.

    victims: scenes of each group at most, 0 all. budget: of each attack. rounds: of the bootstrap.
    places: scenes of each group of places at most, 0 all: the first ones.
    asked: scenes at most, 0 all, of members, of others, and of each value of a property. The attacker's own scenes of a
        property are at most the budget's, all values together.
    """

    victims: int = 8
    places: int = 80
    asked: int = 40
    budget: Budget = Budget()
    rounds: int = 1000

    def __post_init__(self) -> None:
        check.count("Effort", "victims", self.victims, 10**7, 0)
        check.count("Effort", "places", self.places, 10**7, 0)
        check.count("Effort", "asked", self.asked, 10**7, 0)
        check.count("Effort", "rounds", self.rounds, 10**6, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """An audit.

    name: for people. seed: of guards, attacks, floors and draws.
    attacker: the attacker's own scans. victims: groups of scenes that are attacked.
    places, memberships, properties: scenes about which questions are asked; see `server.audit.question_config`.
    quick, full: the two sizes. measures, intervals: as in `server.audit.scores` and `server.audit.intervals`.
    """

    name: str = "audit"
    seed: int = 0
    detector: DetectorChoice = DetectorChoice()
    upload: UploadConfig = UploadConfig()
    attacker: SourceConfig = SourceConfig()
    victims: tuple[VictimConfig, ...] = ()
    places: tuple[PlaceConfig, ...] = ()
    memberships: tuple[MembershipConfig, ...] = ()
    properties: tuple[PropertyConfig, ...] = ()
    threats: tuple[ThreatConfig, ...] = ()
    attacks: tuple[AttackConfig, ...] = ()
    quick: Effort = Effort(victims=8, budget=Budget(steps=200, seconds=60.0, scenes=40, queries=1000))
    full: Effort = Effort(
        victims=0,
        places=0,
        asked=0,
        budget=Budget(steps=6000, seconds=14_400.0, scenes=800, queries=100_000),
    )
    measures: MeasureConfig = MeasureConfig()
    intervals: IntervalConfig = IntervalConfig()

    def __post_init__(self) -> None:
        check.name("AuditConfig", "name", self.name, 60)
        check.count("AuditConfig", "seed", self.seed, 2**32 - 1, 0)
        for what, names in (
            ("victims", [group.name for group in self.victims]),
            ("threats", [threat.name for threat in self.threats]),
            ("attacks", [attack.title for attack in self.attacks]),
        ):
            if not names or len(set(names)) != len(names):
                raise InvalidValueError(f"AuditConfig.{what}: expected at least one, with different names, got {names}")
        # Names become names of files, which keep letters and digits only.
        check_different("AuditConfig", "attacks (as file names)", [file_stem(attack.title) for attack in self.attacks])
        check_different("AuditConfig", "victims (as file names)", [file_stem(group.name) for group in self.victims])
        for what in ("places", "memberships", "properties"):
            check_different("AuditConfig", what, [group.name for group in getattr(self, what)])
        known = {threat.name for threat in self.threats}
        unknown = sorted({attack.threat for attack in self.attacks} - known)
        if unknown:
            raise InvalidValueError(f"AuditConfig.attacks: unknown threat {unknown[0]!r}; known: {sorted(known)}")

    def threat_of(self, attack: AttackConfig, effort: Effort) -> Threat:
        """The threat that an attack works under."""
        return next(each for each in self.threats if each.name == attack.threat).with_budget(effort.budget)


def load_audit(path: Path, changes: Iterable[str] = ()) -> AuditConfig:
    """The audit in a TOML file, with `changes` ("quick.victims=3") applied; attacks' settings are written out.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value wrong; the message names file and key.
        UnknownNameError: an attack or guard that does not exist.
    """
    return parse_audit(changed(read_table(path), changes), str(path))


def parse_audit(table: Mapping[str, Any], source: str) -> AuditConfig:
    """The audit in `table`. Raises as `load_audit`; `source` names the file."""
    try:
        return _complete(from_dict(AuditConfig, table))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def _complete(audit: AuditConfig) -> AuditConfig:
    """`audit` with the defaults of its attacks and guard written out; each attack is refused that lacks an ability."""
    attacks = []
    for entry in audit.attacks:
        cls = attack_class(entry.attack)
        try:
            config: Any = from_dict(cls.config_class, entry.settings)
        except ConfigError as error:
            raise ConfigError(f"attacks.{entry.title}.settings.{error}") from error
        audit.threat_of(entry, audit.quick).require(entry.title, cls(config).required())
        attacks.append(replace(entry, settings=to_dict(config)))
        if issubclass(cls, ObjectAttack):
            _check_source(attacks[-1], attacks[:-1])
        _check_asked(entry.title, cls(config), audit)
    try:
        guard = guards.build(audit.upload.guard).described()
    except UnknownNameError as error:
        raise ConfigError(f"upload.guard: {error}") from error
    return replace(audit, attacks=tuple(attacks), upload=replace(audit.upload, guard=guard))


def _check_source(entry: AttackConfig, before: list[AttackConfig]) -> None:
    """The attack whose reconstructions `entry` looks at comes before it."""
    scans = [each.title for each in before if issubclass(attack_class(each.attack), ReconstructionAttack)]
    if entry.settings["on"] not in scans:
        raise ConfigError(
            f"attacks.{entry.title}.settings.on: expected the title of an attack before it that gives back a scan, "
            f"got {entry.settings['on']!r}; there are {scans}"
        )


def _check_asked(title: str, attack: Attack, audit: AuditConfig) -> None:
    """An attack that answers a question has scenes to be asked about, and the detectors that it needs."""
    asked = {RetrievalAttack: "places", MembershipAttack: "memberships", PropertyAttack: "properties"}
    for kind, section in asked.items():
        if isinstance(attack, kind) and not getattr(audit, section):
            raise ConfigError(f"attacks.{title}: it is asked about [[{section}]], and the file has none; add one")
    if isinstance(attack, MembershipAttack) and Ability.REFERENCE in attack.required():
        lacking = [each.name for each in audit.memberships if not each.reference]
        if lacking:
            raise ConfigError(f"attacks.{title}: memberships.{lacking[0]} has no reference detector; name one")


def config_hash(audit: AuditConfig) -> str:
    """SHA-256 (hex) of the complete configuration."""
    return hashlib.sha256(json.dumps(to_dict(audit), sort_keys=True).encode()).hexdigest()
