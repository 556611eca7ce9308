"""Place recognition over drives that pass the same streets."""

from __future__ import annotations

from typing import Any

import numpy as np

from server.audit.attack import Attack, RetrievalAttack
from server.audit.audit_config import AttackConfig
from server.audit.decision_measures import Visits
from server.audit.decision_scores import RetrievalScores
from server.audit.family import Family, Outcome
from server.audit.polar import PolarConfig, polar_picture
from server.audit.question_config import PlaceConfig
from server.audit.report import about_group
from server.audit.scenes import Victims
from server.audit.stage import Stage
from shared_models.errors import ConfigError

HEIGHT_FLOOR_M = -3.0  # heights count from here, so that all are above 0


class RetrievalFamily(Family):
    """Runs over every group of places; each scene is looked for among those of all other drives."""

    kind = "retrieval"
    attack_class = RetrievalAttack

    def run(self, attack: Attack, entry: AttackConfig, stage: Stage) -> Outcome:
        assert isinstance(attack, RetrievalAttack)
        found: dict[str, Any] = {}
        about = []
        preparing_s = 0.0
        for config in stage.audit.places:
            # The first ones, not some of all drives: those would hardly ever be of one place.
            victims = stage.victims(config.frames, f"places: {config.name}", stage.effort.places)
            visits = _visits(config, victims, stage)
            preparing_s += stage.prepare(attack, entry, victims.payloads)
            made = []
            for number, payload in enumerate(victims.payloads):
                made.append(attack.describe(payload))
                stage.tell(f"{entry.title}: {config.name}", number + 1, len(victims))
            measure = RetrievalScores(victims.truths, visits, stage.intervals, stage.audit.seed)
            found[config.name] = measure.numbers(np.stack(made), raw_pictures(victims))
            drives = {truth.drive for truth in victims.truths}
            counts = {"queries": len(visits.queries), "drives": len(drives), "scenes": len(victims)}
            about.append(
                about_group(self.kind, config.name, config.relation, [config.frames.dataset], counts, len(victims))
            )
        return Outcome(groups=found, preparing_s=preparing_s, asked_about=tuple(about))


def _visits(config: PlaceConfig, victims: Victims, stage: Stage) -> Visits:
    positions = [truth.position_m for truth in victims.truths if truth.position_m is not None]
    if len(positions) < len(victims):
        raise ConfigError(
            f"places.{config.name}: {len(victims) - len(positions)} scenes do not say where they were taken; take a "
            f"dataset with positions, as simulated,visits=2"
        )
    drives, streets = [t.drive for t in victims.truths], [t.street for t in victims.truths]
    visits = Visits.of(drives, streets, np.array(positions), config.radius_m)
    found, fewest = len(visits.queries), stage.audit.intervals.fewest_scenes
    if found < fewest:
        raise ConfigError(
            f"places.{config.name}: {found} scenes have one of the same place in another drive, expected at least "
            f"{fewest} (intervals.fewest_scenes); give more frames, or a larger radius_m than {config.radius_m:g}"
        )
    return visits


def raw_pictures(victims: Victims) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The ceiling: Scan Context's picture, largest heights, of the raw points."""
    config = PolarConfig()
    return np.stack(
        [
            polar_picture(t.points, np.maximum(t.points[:, 2:3].astype(np.float64) - HEIGHT_FLOOR_M, 0), config)
            for t in victims.truths
        ]
    )
