"""The parts of an audit's report; docs/audit-report.schema.json is its form."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from server.audit.audit_config import VictimConfig
from server.audit.intervals import Estimate
from server.audit.scenes import AuditedVehicle, Victims
from server.audit.scores import SceneScore, Summary
from server.audit.threat import Threat

REPORT_SCHEMA: Final = "upcycle.audit.v2"
AFTERWARDS: Final = ("page", "gate", "curve")  # these read reports and change no number in them
NOT_TESTED: Final = (
    "attacks that are not in the tables above, and attackers with more knowledge, scans or time than stated",
    "what several scenes of one drive give away together",
    "what times, frame names and regions beside the payload give away",
)
UNASKED: Final = {
    "detector": "what a detector finds in reconstructions",
    "retrieval": "whether places are told again",
    "membership": "whether it can be told which scenes a detector learned from",
    "property": "whether sensor, city, time of day or weather are told from features",
}


def not_tested(kinds: Iterable[str]) -> list[str]:
    """What was left open by an audit with attacks of these kinds."""
    tried = set(kinds)
    return [*NOT_TESTED, *(words for kind, words in UNASKED.items() if kind not in tried)]


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
    """SHA-256 (hex) over the auditor's code, without what reads its reports: another one makes its attacks anew."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        if path.relative_to(folder).parts[0] in AFTERWARDS:
            continue
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def numbers_of(scores: Sequence[SceneScore], summary: Summary) -> dict[str, Any]:
    """Estimates, scenes by how much of them came back, and the numbers of each scene; null where there is none."""
    return {
        "estimates": _plain_estimates(summary.estimates),
        "ranked": list(summary.ranked),
        "scenes": [
            {"scene_id": score.scene_id, "numbers": {name: _plain(value) for name, value in score.numbers.items()}}
            for score in scores
        ],
    }


def decided(
    estimates: Mapping[str, Estimate],
    floors: Mapping[str, Mapping[str, Estimate]],
    ceilings: Mapping[str, Mapping[str, Estimate]],
    scenes: Sequence[SceneScore] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Numbers of an attack that gives back no scan: beside its estimates the ends of their scale, by name.

    notes: what a reader has to know, in sentences.
    """
    return {
        "estimates": _plain_estimates(estimates),
        "floors": {name: _plain_estimates(each) for name, each in floors.items()},
        "ceilings": {name: _plain_estimates(each) for name, each in ceilings.items()},
        "ranked": [],
        "scenes": [
            {"scene_id": score.scene_id, "numbers": {name: _plain(value) for name, value in score.numbers.items()}}
            for score in scenes
        ],
        "notes": list(notes),
    }


def exact(value: float, scenes: int) -> Estimate:
    """A number that is known without drawing scenes."""
    return Estimate(mean=value, low=None, high=None, scenes=scenes)


def _plain_estimates(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: asdict(each) for name, each in estimates.items()}


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


def guard_effect(victims: Iterable[Victims]) -> dict[str, int]:
    """How many payloads were attacked, and in how many of them the guard had changed anything."""
    counts = [(len(group), group.guard_changed) for group in victims]
    return {"payloads": sum(count for count, _ in counts), "changed": sum(changed for _, changed in counts)}


def left_out(config: VictimConfig) -> str:
    """What is said of scenes that are not there."""
    return f"scenes of the group {config.name!r}: {config.frames.root} is not there"


def about_threat(threat: Threat) -> dict[str, Any]:
    """What the attacker had."""
    return {
        "name": threat.name,
        "gives": sorted(threat.gives),
        "origin": threat.origin,
        "budget": asdict(threat.budget),
    }


def about_group(
    kind: str, name: str, relation: str, datasets: Sequence[str], counts: Mapping[str, int], scenes: int
) -> dict[str, Any]:
    """Scenes about which a question was asked. counts: of them by words for people."""
    return {
        "kind": kind,
        "name": name,
        "relation": relation,
        "is_simulated": all(each.startswith("simulated") for each in datasets),
        "datasets": list(dict.fromkeys(datasets)),
        "scenes": scenes,
        "counts": dict(counts),
    }
