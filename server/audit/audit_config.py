"""Audit files: one complete TOML file says everything that an audit depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from server.audit.attacks import attack_class
from server.audit.intervals import IntervalConfig
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
    """

    name: str
    frames: SourceConfig
    relation: str

    def __post_init__(self) -> None:
        check.name("VictimConfig", "name", self.name, 60)
        check.name("VictimConfig", "relation", self.relation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatConfig:
    """A named threat: abilities beside the stored payloads, and where the attacker's own scans come from, in words."""

    name: str
    gives: tuple[Literal["white_box", "query", "paired"], ...] = ()
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
    """

    victims: int = 8
    budget: Budget = Budget()
    rounds: int = 1000

    def __post_init__(self) -> None:
        check.count("Effort", "victims", self.victims, 10**7, 0)
        check.count("Effort", "rounds", self.rounds, 10**6, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """An audit.

    name: for people. seed: of guards, attacks, floors and draws.
    attacker: the attacker's own scans. victims: groups of scenes that are attacked.
    quick, full: the two sizes. measures, intervals: as in `server.audit.scores` and `server.audit.intervals`.
    """

    name: str = "audit"
    seed: int = 0
    detector: DetectorChoice = DetectorChoice()
    upload: UploadConfig = UploadConfig()
    attacker: SourceConfig = SourceConfig()
    victims: tuple[VictimConfig, ...] = ()
    threats: tuple[ThreatConfig, ...] = ()
    attacks: tuple[AttackConfig, ...] = ()
    quick: Effort = Effort(victims=8, budget=Budget(steps=200, seconds=60.0, scenes=40, queries=1000))
    full: Effort = Effort(victims=0, budget=Budget(steps=20_000, seconds=7200.0, scenes=800, queries=100_000))
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
    table = changed(read_table(path), changes)
    try:
        return _complete(from_dict(AuditConfig, table))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _complete(audit: AuditConfig) -> AuditConfig:
    """`audit` with the defaults of its attacks and guard written out; each attack is refused that lacks an ability."""
    attacks = []
    for entry in audit.attacks:
        cls = attack_class(entry.attack)
        audit.threat_of(entry, audit.quick).require(entry.title, cls.needs)
        try:
            attacks.append(replace(entry, settings=to_dict(from_dict(cls.config_class, entry.settings))))
        except ConfigError as error:
            raise ConfigError(f"attacks.{entry.title}.settings.{error}") from error
    try:
        guard = guards.build(audit.upload.guard).described()
    except UnknownNameError as error:
        raise ConfigError(f"upload.guard: {error}") from error
    return replace(audit, attacks=tuple(attacks), upload=replace(audit.upload, guard=guard))


def config_hash(audit: AuditConfig) -> str:
    """SHA-256 (hex) of the complete configuration."""
    return hashlib.sha256(json.dumps(to_dict(audit), sort_keys=True).encode()).hexdigest()
