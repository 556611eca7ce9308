"""Membership of scenes in the training set of a published detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.audit.attack import Attack, MembershipAttack
from server.audit.audit_config import AttackConfig
from server.audit.decision_scores import MembershipScores
from server.audit.family import Family, Outcome
from server.audit.question_config import MembershipConfig
from server.audit.report import about_group
from server.audit.scenes import AuditedVehicle, SceneTruth
from server.audit.stage import Asked, Stage, chosen
from server.repositories.pseudonym import vehicle_tag
from server.training.seen_scenes import read_seen
from server.training.sources import fleet_id, refuse_shared_frames
from shared_models import checkpoints
from shared_models.codecs import encode
from shared_models.detectors.anchor_detector import AnchorDetector
from shared_models.errors import ConfigError


class MembershipFamily(Family):
    """Runs over every pair of members and others."""

    kind = "membership"
    attack_class = MembershipAttack

    def run(self, attack: Attack, entry: AttackConfig, stage: Stage) -> Outcome:
        assert isinstance(attack, MembershipAttack)
        found: dict[str, Any] = {}
        about = []
        preparing_s = 0.0
        for config in stage.audit.memberships:
            published, reference = (_opened(config, field, stage.vehicle) for field in ("checkpoint", "reference"))
            asked = Asked(detector=published, reference=reference)
            sides = [chosen(source, stage.effort.asked) for source in (config.members, config.others)]
            names = (f"{config.name}.members", "others")
            refuse_shared_frames(stage.open(sides[0]), stage.open(sides[1]), names, "take other scenes")
            members, others = (stage.victims(each, f"membership: {config.name}") for each in sides)
            for side in (members, others):
                stage.require_scenes(f"memberships.{config.name}", len(side))
            preparing_s += stage.prepare(attack, entry, [*members.payloads, *others.payloads], asked=asked)
            truths = [*members.truths, *others.truths]
            what = f"{entry.title}: {config.name}"
            stored = _scores(attack, [*members.payloads, *others.payloads], stage, what)
            raw = _scores(attack, [_untouched(stage.vehicle, truth) for truth in truths], stage, f"{what}, raw points")
            measure = MembershipScores(members.truths, others.truths, stage.intervals, stage.audit.seed)
            found[config.name] = measure.numbers(stored, raw)
            found[config.name]["notes"].append(_recorded(config, stage))
            counts = {"members": len(members), "others": len(others)}
            datasets = [config.members.dataset, config.others.dataset]
            about.append(about_group(self.kind, config.name, config.relation, datasets, counts, len(truths)))
        return Outcome(groups=found, preparing_s=preparing_s, asked_about=tuple(about))


def _opened(config: MembershipConfig, field: str, vehicle: AuditedVehicle) -> AnchorDetector | None:
    """The detector in this field, None where it is empty.

    Raises:
        CheckpointError: it cannot be opened.
        ConfigError: its vehicle part is not the one that made the payloads.
    """
    path: str = getattr(config, field)
    if not path:
        return None
    detector = checkpoints.open_checkpoint(Path(path)).eval().requires_grad_(False)
    if not isinstance(detector, AnchorDetector) or detector.backbone_hash != vehicle.detector.backbone_hash:
        raise ConfigError(
            f"memberships.{config.name}.{field}: {path} has the vehicle part {detector.backbone_hash[:12]}, the "
            f"payloads were made by {vehicle.detector.backbone_hash[:12]}; the attack reads stored features, so name a "
            f"checkpoint with the same frozen vehicle part, or audit with --checkpoint {path}"
        )
    return detector


def _recorded(config: MembershipConfig, stage: Stage) -> str:
    """What the published checkpoint itself says about members and others."""
    path = Path(config.checkpoint or stage.audit.detector.checkpoint)
    seen = read_seen(path) if path.is_dir() and path != Path() else None
    if seen is None or not seen.by_vehicle:
        return "the checkpoint lists no scenes that it learned from: who is a member is the audit file's word"
    guard = stage.vehicle.guard.described()
    tags = [vehicle_tag(fleet_id(source, guard)) for source in (config.members, config.others)]
    listed = [len(seen.by_vehicle.get(tag, ())) for tag in tags]
    return (
        f"the checkpoint's list of scenes that it learned from has {listed[0]} of the members' sender and {listed[1]} "
        f"of the others', of {len(seen)} in all"
    )


def _scores(attack: MembershipAttack, payloads: list[bytes], stage: Stage, what: str) -> NDArray[np.float64]:
    found = []
    for number, payload in enumerate(payloads):
        found.append(attack.membership_score(payload))
        stage.tell(what, number + 1, len(payloads))
    return np.array(found, np.float64)


def _untouched(vehicle: AuditedVehicle, truth: SceneTruth) -> bytes:
    """The payload of the raw points without a guard and in full precision."""
    return encode(vehicle.features(truth.points), "float32")
