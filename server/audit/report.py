"""The parts of an audit's report; docs/audit-report.schema.json is its form."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from server.audit.audit_config import VictimConfig
from server.audit.scenes import AuditedVehicle, Victims
from server.audit.scores import SceneScore, Summary
from server.audit.threat import Threat

REPORT_SCHEMA: Final = "upcycle.audit.v1"


NOT_TESTED: Final = (
    "attacks that are not in the table above, and attackers with more knowledge, scans or time than stated",
    "what several scenes of one drive give away together",
    "what times, frame names and regions beside the payload give away",
)


def scope_of(vehicle: AuditedVehicle, weights: str, config_sha256: str) -> dict[str, Any]:
    """Exactly what was audited: names and hashes."""
    guard = vehicle.guard
    return {
        "detector": vehicle.detector.name,
        "weights": weights,
        "backbone_hash": vehicle.detector.backbone_hash,
        "split_layer": vehicle.geometry.split_layer,
        "codec": vehicle.codec,
        "guard": guard.described(),
        "guard_hash": guard.settings_hash,
        "point_range_m": list(vehicle.geometry.point_range_m),
        "cell_size_m": list(vehicle.geometry.cell_size_m),
        "config_sha256": config_sha256,
        "code_sha256": code_sha256(),
    }


@cache
def code_sha256() -> str:
    """SHA-256 (hex) over the auditor's code: another one makes its attacks anew."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def numbers_of(scores: Sequence[SceneScore], summary: Summary) -> dict[str, Any]:
    """Estimates, scenes by how much of them came back, and the numbers of each scene; null where there is none."""
    return {
        "estimates": {name: asdict(each) for name, each in summary.estimates.items()},
        "ranked": list(summary.ranked),
        "scenes": [
            {"scene_id": score.scene_id, "numbers": {name: _plain(value) for name, value in score.numbers.items()}}
            for score in scores
        ],
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def about_victims(config: VictimConfig, victims: Victims) -> dict[str, Any]:
    """Who was attacked."""
    return {
        "name": config.name,
        "dataset": config.frames.dataset,
        "is_simulated": config.frames.dataset.startswith("simulated"),
        "relation": config.relation,
        "scenes": [truth.scene_id for truth in victims.truths],
        "mean_points": float(np.mean([len(truth.points) for truth in victims.truths])),
        "mean_payload_bytes": float(np.mean([len(payload) for payload in victims.payloads])),
    }


def about_threat(threat: Threat) -> dict[str, Any]:
    """What the attacker had."""
    return {
        "name": threat.name,
        "gives": sorted(threat.gives),
        "origin": threat.origin,
        "budget": asdict(threat.budget),
    }
