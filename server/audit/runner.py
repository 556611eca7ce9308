"""An audit from its configuration to its report: victims, attacks, floors and ceiling."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from server.audit import attacks, controls, scores
from server.audit.attack import Attack, Progress, Reconstruction, ReconstructionAttack, Workbench
from server.audit.audit_config import AttackConfig, AuditConfig, Effort, VictimConfig, config_hash
from server.audit.audited_detector import open_detector
from server.audit.report import (
    NOT_TESTED,
    REPORT_SCHEMA,
    about_threat,
    about_victims,
    code_sha256,
    numbers_of,
    scope_of,
)
from server.audit.results import AuditFolder
from server.audit.scenes import (
    AuditedVehicle,
    SceneTruth,
    Victims,
    check_payloads,
    make_paired,
    make_victims,
    read_truths,
    scene_seed,
    view_of,
)
from server.audit.threat import Ability, PairedScene, Threat
from server.training.source_config import SourceConfig
from server.training.sources import open_source, refuse_shared_frames
from shared_models.configuration import to_dict
from shared_models.errors import ConfigError

Tell = Callable[[str, int, int], None]

FLOOR_RANDOM, FLOOR_MEAN, CEILING = "floor: random points", "floor: mean scene", "ceiling: raw points"


def _silence(what: str, done: int, total: int) -> None:
    """Tells nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group of victims with what is known about it."""

    config: VictimConfig
    victims: Victims


class AuditRun:
    """One audit. Attacks that finished in a former call with the same configuration are not made again."""

    def __init__(
        self,
        audit: AuditConfig,
        data: Path,
        effort: Literal["quick", "full"] = "quick",
        *,
        device: str = "cpu",
        tell: Tell = _silence,
        is_fresh: bool = False,
    ) -> None:
        """data: the server's data folder. tell: progress (what, done, total). is_fresh: make finished attacks anew.

        Raises:
            UnknownNameError, CheckpointError, InvalidValueError: detector, guard, codec or layer is wrong.
        """
        self._audit, self._data, self._device, self._tell, self._is_fresh = audit, data, device, tell, is_fresh
        self._effort_name = effort
        self._effort: Effort = getattr(audit, effort)
        detector, self._weights = open_detector(audit.detector)
        upload = audit.upload
        self._vehicle = AuditedVehicle(detector, guard=upload.guard, codec=upload.codec, split_layer=upload.split_layer)
        self.config_sha256 = config_hash(audit)
        identity = f"{self.config_sha256}{detector.backbone_hash}{code_sha256()}".encode()
        self.folder = AuditFolder(data, f"{audit.name}-{effort}-{hashlib.sha256(identity).hexdigest()[:10]}")
        self._intervals = replace(audit.intervals, rounds=self._effort.rounds)

    def run(self) -> dict[str, Any]:
        """The report; see docs/audit-report.schema.json.

        Raises:
            ConfigError: too few scenes for an interval, or victims among the attacker's own scenes.
            UpcycleError: whatever data, attacks or storage raise. What finished before stays.
        """
        started_s = time.perf_counter()
        self.folder.keep_config(to_dict(self._audit))
        groups = [self._group(config) for config in self._audit.victims]
        paired = self._paired()
        results = [self._attacked(entry, groups, paired) for entry in self._audit.attacks]
        controls_found = self._controls(groups, paired)
        return {
            "schema": REPORT_SCHEMA,
            "audit_id": self.folder.audit_id,
            "name": self._audit.name,
            "effort": self._effort_name,
            "seed": self._audit.seed,
            "scope": scope_of(self._vehicle, self._weights, self.config_sha256),
            "victims": [about_victims(g.config, g.victims) for g in groups],
            "attacker": {"dataset": self._audit.attacker.dataset, "scenes": len(paired)},
            "threats": [about_threat(each.with_budget(self._effort.budget)) for each in self._audit.threats],
            "controls": controls_found,
            "attacks": results,
            "not_tested": list(NOT_TESTED),
            "cost": {"seconds": round(time.perf_counter() - started_s, 1), "device": self._device},
        }

    def _group(self, config: VictimConfig) -> Group:
        source = self._chosen(config.frames, self._effort.victims)
        opened = open_source(source, self._data / "cache")
        if "paired" in {word for threat in self._audit.threats for word in threat.gives}:
            own = open_source(self._own_source(), self._data / "cache")
            refuse_shared_frames(own, opened, ("attacker", f"victims.{config.name}"), "attack other scenes")
        if len(opened.frame_ids) < self._audit.intervals.fewest_scenes:
            raise ConfigError(
                f"victims.{config.name}: {len(opened.frame_ids)} scenes are too few for an interval, expected at least "
                f"{self._audit.intervals.fewest_scenes} (intervals.fewest_scenes); add frames"
            )
        truths = list(self._read(source, f"victims: {config.name}"))
        victims = make_victims(self._vehicle, truths, self._audit.seed)
        check_payloads(victims.payloads, self._vehicle)
        return Group(config=config, victims=victims)

    def _paired(self) -> list[PairedScene]:
        if not any("paired" in threat.gives for threat in self._audit.threats):
            return []
        return list(make_paired(self._vehicle, self._read(self._own_source(), "attacker's scenes"), self._audit.seed))

    def _own_source(self) -> SourceConfig:
        return self._chosen(self._audit.attacker, self._effort.budget.scenes)

    @staticmethod
    def _chosen(source: SourceConfig, most: int) -> SourceConfig:
        return replace(source, frames=min(source.frames or most, most) if most else source.frames)

    def _read(self, source: SourceConfig, what: str) -> Any:
        opened = open_source(source, self._data / "cache")
        for number, frame_id in enumerate(opened.frame_ids):
            yield from read_truths(
                opened.dataset, [frame_id], self._vehicle.geometry, source.view, {"dataset": source.dataset}
            )
            self._tell(what, number + 1, len(opened.frame_ids))

    def _attacked(self, entry: AttackConfig, groups: Sequence[Group], paired: Sequence[PairedScene]) -> dict[str, Any]:
        former = None if self._is_fresh else self.folder.finished(entry.title)
        if former is not None:
            return former
        attack = attacks.build(entry.attack, entry.settings)
        if not isinstance(attack, ReconstructionAttack):
            raise ConfigError(f"attack {entry.attack}: the audit runs attacks that give back a scan; leave it out")
        started_s = time.perf_counter()
        self._prepare(attack, entry, groups, paired)
        prepared_s = time.perf_counter() - started_s
        found: dict[str, Any] = {}
        clouds: dict[str, NDArray[np.float32]] = {}
        for group in groups:
            made = self._reconstructed(attack, entry.title, group)
            found[group.config.name] = self._scored(group, made)
            clouds |= _for_pictures(group, made, found[group.config.name]["ranked"])
        seconds = time.perf_counter() - started_s - prepared_s
        result = {
            "title": entry.title,
            "attack": entry.attack,
            "settings": entry.settings,
            "threat": entry.threat,
            "needs": sorted(attack.needs),
            "groups": found,
            "cost": {"preparing_s": round(prepared_s, 2), "scenes_s": round(seconds, 2), **asdict(attack.spent())},
        }
        self.folder.keep(entry.title, result, clouds)
        return result

    def _prepare(
        self, attack: Attack, entry: AttackConfig, groups: Sequence[Group], paired: Sequence[PairedScene]
    ) -> None:
        threat = self._audit.threat_of(entry, self._effort)
        threat.require(entry.title, attack.needs)
        payloads = [payload for group in groups for payload in group.victims.payloads]
        view = view_of(threat, self._vehicle, payloads, paired, self._audit.seed)
        bench = Workbench(
            seed=scene_seed(self._audit.seed, "attack", entry.title) % 2**31,
            device=self._device,
            folder=self.folder.work(entry.title),
            progress=self._told(f"{entry.title}: preparing"),
        )
        attack.prepare(view.restricted_to(attack.needs | attack.may_use), bench)

    def _told(self, what: str) -> Progress:
        return lambda done, total: self._tell(what, done, total)

    def _reconstructed(self, attack: ReconstructionAttack, title: str, group: Group) -> list[Reconstruction]:
        made = []
        for number, payload in enumerate(group.victims.payloads):
            made.append(attack.reconstruct(payload))
            self._tell(f"{title}: {group.config.name}", number + 1, len(group.victims))
        return made

    def _scored(self, group: Group, made: Sequence[Reconstruction]) -> dict[str, Any]:
        pairs = zip(group.victims.truths, made, strict=True)
        each = scores.scored(pairs, self._vehicle.geometry, self._audit.measures)
        return numbers_of(
            each, scores.summarise(each, self._intervals, self._audit.seed, self._audit.measures.headline)
        )

    def _controls(self, groups: Sequence[Group], paired: Sequence[PairedScene]) -> dict[str, Any]:
        """Floors and ceiling of each group."""
        made = {FLOOR_RANDOM: self._random, CEILING: self._identity}
        found = {name: {g.config.name: self._scored(g, make(g)) for g in groups} for name, make in made.items()}
        if paired:
            mean = attacks.build("mean_scene")
            assert isinstance(mean, ReconstructionAttack)
            threat = Threat(name="floor", gives=(Ability.PAIRED,), origin="floor", budget=self._effort.budget)
            mean.prepare(view_of(threat, self._vehicle, (), paired), Workbench(seed=self._audit.seed))
            found[FLOOR_MEAN] = {
                g.config.name: self._scored(g, [mean.reconstruct(p) for p in g.victims.payloads]) for g in groups
            }
        return found

    def _random(self, group: Group) -> list[Reconstruction]:
        """As many points as the scan has, anywhere in the range."""
        geometry, seed = self._vehicle.geometry, self._audit.seed
        return [
            scores.random_points(len(t.points), geometry, scene_seed(seed, "random", t.scene_id))
            for t in group.victims.truths
        ]

    def _identity(self, group: Group) -> list[Reconstruction]:
        """The scan itself through the same codec, read out as keypoints are."""
        reader = attacks.build("keypoint_list")
        assert isinstance(reader, ReconstructionAttack)
        truths = group.victims.truths
        return [reader.reconstruct(controls.identity_payload(t.points, self._vehicle.codec)) for t in truths]


def _for_pictures(
    group: Group, made: Sequence[Reconstruction], ranked: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Truth and reconstruction of the scenes restored most, in the middle and least."""
    place = {truth.scene_id: index for index, truth in enumerate(group.victims.truths)}
    clouds: dict[str, NDArray[np.float32]] = {}
    for word, scene_id in (("most", ranked[0]), ("middle", ranked[len(ranked) // 2]), ("least", ranked[-1])):
        truth: SceneTruth = group.victims.truths[place[scene_id]]
        clouds[f"{group.config.name}|{word}|{scene_id}|truth"] = truth.points
        clouds[f"{group.config.name}|{word}|{scene_id}|found"] = made[place[scene_id]].points
    return clouds
