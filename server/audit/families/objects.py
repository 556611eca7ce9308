"""A stock detector on the reconstructions of another attack, beside floors and ceiling."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.audit import controls
from server.audit.attack import Attack, ObjectAttack
from server.audit.audit_config import AttackConfig
from server.audit.family import Family, Outcome
from server.audit.floors import mean_scan, random_scans
from server.audit.object_scores import ObjectScores
from server.audit.report import decided
from server.audit.stage import Group, Stage
from shared_models.records import Detections

Points = NDArray[np.float32]


class ObjectFamily(Family):
    """Takes the scans that the attack it names gave back; nothing is trained or restored again."""

    kind = "detector"
    attack_class = ObjectAttack

    def run(self, attack: Attack, entry: AttackConfig, stage: Stage) -> Outcome:
        assert isinstance(attack, ObjectAttack)
        payloads = [payload for group in stage.groups for payload in group.victims.payloads]
        preparing_s = stage.prepare(attack, entry, payloads)
        found = {group.config.name: self._numbers(attack, entry, stage, group) for group in stage.groups}
        return Outcome(groups=found, preparing_s=preparing_s)

    def _numbers(self, attack: ObjectAttack, entry: AttackConfig, stage: Stage, group: Group) -> dict[str, Any]:
        name, truths, on = group.config.name, group.victims.truths, str(entry.settings["on"])
        restored = [stage.folder.scan(on, name, number) for number in range(len(truths))]
        measure = ObjectScores(truths, stage.audit.measures.class_names, float(entry.settings["least_score"]))
        title = f"{entry.title}: {name}"
        found = self._found(attack, stage, title, restored)
        # The detector learns nothing between scans, so it may be shown those at both ends of the scale too.
        floors = {"random points": self._found(attack, stage, title, (r.points for r in random_scans(stage, group)))}
        mean = mean_scan(stage)
        if mean is not None:
            floors["mean scene"] = [attack.detect(mean.points)] * len(truths)
        codec = stage.vehicle.codec
        raw = self._found(attack, stage, title, (controls.identity_scan(t.points, codec) for t in truths))
        intervals, seed = stage.intervals, stage.audit.seed
        estimates = measure.estimates(found, intervals, seed)
        return decided(
            estimates,
            {floor: measure.estimates(each, intervals, seed) for floor, each in floors.items()},
            {"raw points": measure.estimates(raw, intervals, seed)},
            measure.of_scenes(found),
            measure.notes(intervals),
        )

    @staticmethod
    def _found(attack: ObjectAttack, stage: Stage, title: str, scans: Iterable[Points]) -> list[Detections]:
        found: list[Detections] = []
        for points in scans:
            found.append(attack.detect(points))
            stage.tell(title, len(found), max(len(found), 1))
        return found
