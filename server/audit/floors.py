"""Scans that anyone can give back without a payload: the floors of reconstruction."""

from __future__ import annotations

from server.audit import attacks, scores
from server.audit.attack import Reconstruction, ReconstructionAttack, Workbench
from server.audit.scenes import scene_seed, view_of
from server.audit.stage import Group, Stage
from server.audit.threat import Ability, Threat


def random_scans(stage: Stage, group: Group) -> list[Reconstruction]:
    """As many points as each scan has, anywhere in the range."""
    geometry, seed = stage.vehicle.geometry, stage.audit.seed
    return [
        scores.random_points(len(t.points), geometry, scene_seed(seed, "random", t.scene_id))
        for t in group.victims.truths
    ]


def mean_scan(stage: Stage) -> Reconstruction | None:
    """The mean of the attacker's own scans; None where no threat gives him any."""
    if not stage.paired:
        return None
    mean = attacks.build("mean_scene")
    assert isinstance(mean, ReconstructionAttack)
    threat = Threat(name="floor", gives=(Ability.PAIRED,), origin="floor", budget=stage.effort.budget)
    mean.prepare(view_of(threat, stage.vehicle, (), stage.paired), Workbench(seed=stage.audit.seed))
    return mean.reconstruct(b"")
