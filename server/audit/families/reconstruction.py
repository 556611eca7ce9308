"""Attacks that give back a scan, beside their floors and ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.audit import attacks, controls, scores
from server.audit.attack import Attack, Reconstruction, ReconstructionAttack
from server.audit.audit_config import AttackConfig
from server.audit.family import Family, Outcome
from server.audit.floors import mean_scan, random_scans
from server.audit.report import numbers_of
from server.audit.stage import Group, Stage

FLOOR_RANDOM, FLOOR_MEAN, CEILING = "floor: random points", "floor: mean scene", "ceiling: raw points"


class ReconstructionFamily(Family):
    """Runs over every group of victims."""

    kind = "reconstruction"
    attack_class = ReconstructionAttack

    def run(self, attack: Attack, entry: AttackConfig, stage: Stage) -> Outcome:
        assert isinstance(attack, ReconstructionAttack)
        payloads = [payload for group in stage.groups for payload in group.victims.payloads]
        preparing_s = stage.prepare(attack, entry, payloads)
        is_kept = any(other.settings.get("on") == entry.title for other in stage.audit.attacks)
        found: dict[str, Any] = {}
        clouds: dict[str, NDArray[np.float32]] = {}
        for group in stage.groups:
            made = []
            for number, payload in enumerate(group.victims.payloads):
                made.append(attack.reconstruct(payload))
                if is_kept:
                    stage.folder.keep_scan(entry.title, group.config.name, number, made[-1].points)
                stage.tell(f"{entry.title}: {group.config.name}", number + 1, len(group.victims))
            found[group.config.name] = scored(stage, group, made)
            clouds |= _for_pictures(group, made, found[group.config.name]["ranked"])
        return Outcome(groups=found, preparing_s=preparing_s, clouds=clouds)


def scored(stage: Stage, group: Group, made: Sequence[Reconstruction]) -> dict[str, Any]:
    """Numbers of the reconstructions of one group."""
    measures = stage.audit.measures
    each = scores.scored(zip(group.victims.truths, made, strict=True), stage.vehicle.geometry, measures)
    drives = [truth.drive for truth in group.victims.truths]
    return numbers_of(each, scores.summarise(each, stage.intervals, stage.audit.seed, measures.headline, drives))


def controls_of(stage: Stage) -> dict[str, Any]:
    """Floors and ceiling of each group."""
    named = {FLOOR_RANDOM: random_scans, CEILING: _identity}
    found = {
        name: {group.config.name: scored(stage, group, make(stage, group)) for group in stage.groups}
        for name, make in named.items()
    }
    mean = mean_scan(stage)
    if mean is not None:
        found[FLOOR_MEAN] = {g.config.name: scored(stage, g, [mean] * len(g.victims)) for g in stage.groups}
    return found


def _identity(stage: Stage, group: Group) -> list[Reconstruction]:
    """The scan itself through the same codec, read out as keypoints are."""
    reader = attacks.build("keypoint_list")
    assert isinstance(reader, ReconstructionAttack)
    codec = stage.vehicle.codec
    return [reader.reconstruct(controls.identity_payload(t.points, codec)) for t in group.victims.truths]


def _for_pictures(
    group: Group, made: Sequence[Reconstruction], ranked: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Truth and reconstruction of the scenes restored most, in the middle and least, and of the group's first one,
    which is the same for every attack."""
    place = {truth.scene_id: index for index, truth in enumerate(group.victims.truths)}
    first = group.victims.truths[0].scene_id
    words = (("most", ranked[0]), ("middle", ranked[len(ranked) // 2]), ("least", ranked[-1]), ("first", first))
    clouds: dict[str, NDArray[np.float32]] = {}
    for word, scene_id in words:
        clouds[f"{group.config.name}|{word}|{scene_id}|truth"] = group.victims.truths[place[scene_id]].points
        clouds[f"{group.config.name}|{word}|{scene_id}|found"] = made[place[scene_id]].points
    return clouds
