"""Properties of the vehicle or scene: its sensor, city, weather."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from server.audit.attack import Attack, PropertyAttack
from server.audit.audit_config import AttackConfig
from server.audit.decision_scores import PropertyScores
from server.audit.family import Family, Outcome
from server.audit.pooled_statistics import point_statistics
from server.audit.probe import fit_probe
from server.audit.question_config import PropertyConfig
from server.audit.report import about_group
from server.audit.scenes import SceneTruth, make_paired
from server.audit.stage import Stage, chosen
from server.audit.threat import PairedScene
from server.training.sources import refuse_shared_frames

RIDGE = 0.1  # of the ceiling's classifier


class PropertyFamily(Family):
    """Runs once for every property; the attacker's own scenes of it are given in place of his others."""

    kind = "property"
    attack_class = PropertyAttack

    def run(self, attack: Attack, entry: AttackConfig, stage: Stage) -> Outcome:
        assert isinstance(attack, PropertyAttack)
        found: dict[str, Any] = {}
        about = []
        preparing_s = 0.0
        for config in stage.audit.properties:
            own = _own_scenes(config, stage)
            payloads: list[bytes] = []
            truths: list[SceneTruth] = []
            actual: list[str] = []
            for each in config.values:
                victims = stage.victims(chosen(each.victims, stage.effort.asked), f"{config.name}: {each.value}")
                stage.require_scenes(f"properties.{config.name}.{each.value}", len(victims))
                payloads += victims.payloads
                truths += victims.truths
                actual += [each.value] * len(victims)
            attack.property_name = config.name
            preparing_s += stage.prepare(attack, entry, payloads, own)
            answers = []
            for number, payload in enumerate(payloads):
                answers.append(attack.predict(payload))
                stage.tell(f"{entry.title}: {config.name}", number + 1, len(payloads))
            measure = PropertyScores(truths, actual, stage.intervals, stage.audit.seed)
            found[config.name] = measure.numbers(answers, _from_points(config.name, own, truths))
            counts = {each.value: actual.count(each.value) for each in config.values}
            datasets = [each.victims.dataset for each in config.values]
            counts |= {"attacker's own": len(own)}
            about.append(about_group(self.kind, config.name, config.relation, datasets, counts, len(truths)))
        return Outcome(groups=found, preparing_s=preparing_s, asked_about=tuple(about))


def _own_scenes(config: PropertyConfig, stage: Stage) -> list[PairedScene]:
    """The attacker's own scenes of all values, equally many of each as far as there are."""
    most = stage.effort.budget.scenes
    own: list[PairedScene] = []
    for each in config.values:
        source = chosen(each.attacker, max(1, most // len(config.values)) if most else 0)
        victims = stage.open(chosen(each.victims, stage.effort.asked))
        names = (f"properties.{config.name}.{each.value}.attacker", "victims")
        refuse_shared_frames(stage.open(source), victims, names, "attack other scenes")
        truths = (
            replace(truth, properties={**truth.properties, config.name: each.value})
            for truth in stage.read(source, f"{config.name}: attacker's {each.value}")
        )
        own += make_paired(stage.vehicle, truths, stage.audit.seed)
    return own


def _from_points(name: str, own: list[PairedScene], truths: list[SceneTruth]) -> list[str]:
    """The ceiling: what the same kind of classifier makes of statistics of the raw points."""
    rows = np.stack([point_statistics(scene.points) for scene in own])
    probe = fit_probe(rows, [scene.properties[name] for scene in own], RIDGE)
    return [probe.predict(point_statistics(truth.points)) for truth in truths]
