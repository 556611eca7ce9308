"""An audit from its configuration to its report: victims, attacks, floors and ceiling."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from server.audit import attacks
from server.audit.audit_config import AttackConfig, AuditConfig, Effort, VictimConfig, config_hash
from server.audit.audited_detector import open_detector
from server.audit.families import family_of
from server.audit.families.reconstruction import controls_of
from server.audit.report import (
    REPORT_SCHEMA,
    about_threat,
    about_victims,
    code_sha256,
    guard_effect,
    left_out,
    not_tested,
    scope_of,
)
from server.audit.results import AuditFolder
from server.audit.scenes import AuditedVehicle
from server.audit.stage import Stage, Tell
from shared_models.configuration import to_dict
from shared_models.errors import ConfigError

logger = logging.getLogger(__name__)

ASKED_ABOUT = "asked_about"  # kept with an attack's numbers, and not repeated in the report


def _silence(what: str, done: int, total: int) -> None:
    """Tells nothing."""


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
        self._audit, self._tell, self._is_fresh = audit, tell, is_fresh
        self._taken_over_s = 0.0  # what attacks took that finished in a former call
        self._effort_name = effort
        self._effort: Effort = getattr(audit, effort)
        detector, self._weights = open_detector(audit.detector)
        upload = audit.upload
        vehicle = AuditedVehicle(detector, guard=upload.guard, codec=upload.codec, split_layer=upload.split_layer)
        self.config_sha256 = config_hash(audit)
        missing = [
            each.name for each in audit.victims if each.is_left_out
        ]  # whose attacks are made when they are there
        identity = f"{self.config_sha256}{detector.backbone_hash}{code_sha256()}{missing or ''}{_named_weights(audit)}"
        audit_id = f"{audit.name}-{effort}-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"
        self.folder = AuditFolder(data, audit_id)
        self._stage = Stage(
            audit=audit,
            effort=self._effort,
            vehicle=vehicle,
            folder=self.folder,
            data=data,
            device=device,
            tell=tell,
        )

    def run(self) -> dict[str, Any]:
        """The report; see docs/audit-report.schema.json.

        Raises:
            ConfigError: too few scenes for an interval, or victims among the attacker's own scenes.
            UpcycleError: whatever data, attacks or storage raise. What finished before stays.
        """
        started_s, self._taken_over_s = time.perf_counter(), 0.0
        stage = self._stage
        self.folder.keep_config(to_dict(self._audit))
        stage.read_groups(self._present())
        results = [self._attacked(entry) for entry in self._audit.attacks]
        asked_about = {(each["kind"], each["name"]): each for result in results for each in result.pop(ASKED_ABOUT)}
        return {
            "schema": REPORT_SCHEMA,
            "audit_id": self.folder.audit_id,
            "name": self._audit.name,
            "effort": self._effort_name,
            "seed": self._audit.seed,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "scope": scope_of(stage.vehicle, self._weights, self.config_sha256)
            | {"guard_effect": guard_effect(group.victims for group in stage.groups)},
            "victims": [about_victims(group.config, group.victims) for group in stage.groups],
            "decision_groups": list(asked_about.values()),
            "attacker": {"dataset": self._audit.attacker.dataset, "scenes": len(stage.paired)},
            "intervals": asdict(stage.intervals),
            "measures": to_dict(self._audit.measures),
            "threats": [about_threat(each.with_budget(self._effort.budget)) for each in self._audit.threats],
            "controls": controls_of(stage),
            "attacks": results,
            "not_tested": [
                *not_tested(each["kind"] for each in results),
                *(left_out(each) for each in self._audit.victims if each.is_left_out),
            ],
            "cost": {
                "seconds": round(time.perf_counter() - started_s + self._taken_over_s, 1),
                "device": stage.device,
            },
        }

    def _present(self) -> list[VictimConfig]:
        """The groups of victims whose scenes are there, or have to be."""
        for each in self._audit.victims:
            if each.is_left_out:
                logger.warning("LEFT OUT: %s", left_out(each))
        present = [each for each in self._audit.victims if not each.is_left_out]
        if not present:
            raise ConfigError("victims: no scenes are there, of none of the groups; see their `frames`")
        return present

    def _attacked(self, entry: AttackConfig) -> dict[str, Any]:
        """The numbers of one attack, made now or in a former call."""
        if self._is_fresh:
            self.folder.forget(entry.title)
        former = self.folder.finished(entry.title)
        if former is not None:
            self._taken_over_s += former["cost"]["preparing_s"] + former["cost"]["scenes_s"]
            return former
        attack = attacks.build(entry.attack, entry.settings)
        family = family_of(attack)
        started_s = time.perf_counter()
        outcome = family.run(attack, entry, self._stage)
        seconds = time.perf_counter() - started_s - outcome.preparing_s
        result = {
            "title": entry.title,
            "kind": family.kind,
            "attack": entry.attack,
            "settings": entry.settings,
            "threat": entry.threat,
            "needs": sorted(attack.required()),
            "groups": dict(outcome.groups),
            "cost": {
                "preparing_s": round(outcome.preparing_s, 2),
                "scenes_s": round(seconds, 2),
                **asdict(attack.spent()),
            },
            ASKED_ABOUT: [dict(each) for each in outcome.asked_about],
        }
        self.folder.keep(entry.title, result, outcome.clouds)
        return result


def _named_weights(audit: AuditConfig) -> str:
    """SHA-256 (hex) of all named checkpoints, "" without any: heads are no part of the backbone's hash."""
    named = [audit.detector.checkpoint, *(entry.settings.get("checkpoint", "") for entry in audit.attacks)]
    named += [path for each in audit.memberships for path in (each.checkpoint, each.reference)]
    digest = hashlib.sha256()
    for name in filter(None, named):
        path = Path(name)
        for file in sorted(path.glob("*")) if path.is_dir() else [path]:
            digest.update(f"{file.name}\n".encode() + (file.read_bytes() if file.is_file() else b""))
    return digest.hexdigest() if any(named) else ""
