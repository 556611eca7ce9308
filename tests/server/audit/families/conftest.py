"""A stage with a few drawn scenes: two drives along each of four streets."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from server.audit.attack import Attack
from server.audit.attacks import build
from server.audit.attacks.detector import StockDetector
from server.audit.audit_config import AttackConfig, AuditConfig, Effort, ThreatConfig, VictimConfig
from server.audit.families import family_of
from server.audit.family import Outcome
from server.audit.intervals import IntervalConfig
from server.audit.question_config import MembershipConfig, PlaceConfig, PropertyConfig, PropertyValue
from server.audit.results import AuditFolder
from server.audit.scenes import AuditedVehicle, SceneTruth, Victims, make_paired, make_victims
from server.audit.stage import Group, Stage
from server.training.source_config import SourceConfig
from shared_models.records import Detections

SPEC = importlib.util.spec_from_file_location("json_schema", Path(__file__).parents[1] / "json_schema.py")
assert SPEC is not None
assert SPEC.loader is not None
json_schema = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(json_schema)

RunAttack = Callable[..., Outcome]


def street_scene(street: int, visit: int, seed: int = 0) -> SceneTruth:
    """Ground, and four blocks beside the street that stand where they stood; a car that was elsewhere before."""
    fixed, passing = np.random.default_rng([seed, street]), np.random.default_rng([seed, street, visit])
    ground = passing.uniform([1, -15, -1.75, 0], [34, 15, -1.65, 1], (500, 4))
    blocks = [
        passing.uniform([x, y, -1.6, 0], [x + 4, y + 2, 0.8, 1], (120, 4))
        for x, y in fixed.uniform([2, -15], [30, 13], (4, 2))
    ]
    place = np.array([passing.uniform(5, 25), passing.uniform(-3, 3), -0.8])
    half = np.array([2, 1, 0.8])
    car = passing.uniform([*(place - half), 0], [*(place + half), 1], (80, 4))
    return SceneTruth(
        scene_id=f"sim-{street:04d}.{visit}-0000",
        points=np.concatenate([ground, *blocks, car]).astype(np.float32),
        boxes=np.array([[*place, 4.0, 2.0, 1.6, 0.0]], np.float32),
        class_names=("Car",),
        properties={"street": f"sim-{street:04d}", "drive": f"sim-{street:04d}.{visit}"},
        position_m=(float(visit), 0.0, 0.0),
    )


def wet(truth: SceneTruth) -> SceneTruth:
    """The same scene in rain: a third of the points are left."""
    return replace(truth, scene_id=f"wet {truth.scene_id}", points=truth.points[::3].copy())


def source(name: str) -> SourceConfig:
    return SourceConfig(dataset=name)


AUDIT = AuditConfig(
    name="small",
    victims=(VictimConfig(name="v", relation="the same", frames=source("v")),),
    places=(PlaceConfig(name="p", relation="twice", frames=source("places")),),
    memberships=(MembershipConfig(name="m", relation="alike", members=source("in"), others=source("out")),),
    properties=(
        PropertyConfig(
            name="weather",
            relation="other streets",
            values=(
                PropertyValue(value="dry", attacker=source("own dry"), victims=source("dry")),
                PropertyValue(value="wet", attacker=source("own wet"), victims=source("wet")),
            ),
        ),
    ),
    threats=(ThreatConfig(name="all", gives=("paired", "white_box", "reference"), origin="the same"),),
    attacks=(AttackConfig(attack="active_cells", threat="all"),),
    intervals=IntervalConfig(fewest_scenes=4),
)


@pytest.fixture(scope="session")
def drawn() -> dict[str, list[SceneTruth]]:
    """What each source holds."""
    return {
        "v": [street_scene(street, 0) for street in range(4)],
        "places": [street_scene(street, visit) for street in range(4) for visit in range(2)],
        "in": [street_scene(street, 0, seed=1) for street in range(4)],
        "out": [street_scene(street, 0, seed=2) for street in range(4)],
        "own dry": [street_scene(street, 0, seed=3) for street in range(4)],
        "own wet": [wet(street_scene(street, 0, seed=4)) for street in range(4)],
        "dry": [street_scene(street, 0, seed=5) for street in range(4)],
        "wet": [wet(street_scene(street, 0, seed=6)) for street in range(4)],
    }


class DrawnStage(Stage):
    """Its sources are drawn scenes."""

    drawn: dict[str, list[SceneTruth]]

    def open(self, source: SourceConfig) -> Any:
        frame_ids = tuple(t.scene_id for t in self.drawn[source.dataset])
        return type("Drawn", (), {"config": source, "frame_ids": frame_ids, "world": ""})

    def read(self, source: SourceConfig, what: str, first: int = 0) -> Any:
        return iter(self.drawn[source.dataset][: first or None])


@pytest.fixture
def stage(vehicle: AuditedVehicle, drawn: dict[str, list[SceneTruth]], tmp_path: Path) -> DrawnStage:
    """All threats, one group of victims, four own scenes."""
    made = DrawnStage(
        audit=AUDIT,
        effort=Effort(rounds=20),
        vehicle=vehicle,
        folder=AuditFolder(tmp_path, "audit"),
        data=tmp_path,
        device="cpu",
        tell=lambda what, done, total: None,
    )
    made.drawn = drawn
    victims: Victims = make_victims(vehicle, drawn["v"], 0)
    made.groups = (Group(config=AUDIT.victims[0], victims=victims),)
    made.paired = tuple(make_paired(vehicle, drawn["own dry"], 0))
    return made


@pytest.fixture
def run(stage: DrawnStage, repository: Path) -> RunAttack:
    """`run("polar_map", dimensions=3)` gives the outcome on the stage, which has the published form."""
    schema = json.loads((repository / "docs/audit-report.schema.json").read_text())

    def start(name: str, **settings: Any) -> Outcome:
        attack: Attack = build(name, settings)
        complete = {"on": "occupancy", "least_score": 0.3, **settings}
        outcome = family_of(attack).run(attack, AttackConfig(attack=name, threat="all", settings=complete), stage)
        for part, form in ((outcome.groups, "groups"), *((about, "asked") for about in outcome.asked_about)):
            plain = json.loads(json.dumps(part))
            assert json_schema.faults(plain, {"$ref": f"#/$defs/{form}"}, schema) == []
        return outcome

    return start


def _bunch(self: object, points: np.ndarray) -> Detections:
    """A detector for which every bunch of points between the road and 1 m above it, near the middle, is a car."""
    high = points[(points[:, 2] > -1.3) & (points[:, 2] < 0.1) & (np.abs(points[:, 1]) < 4)]
    centre = [float(np.median(high[:, 0])), float(np.median(high[:, 1])), -0.8] if len(high) > 20 else [90.0, 0, 0]
    return Detections(
        boxes=torch.tensor([[*centre, 4.0, 2.0, 1.6, 0.0]]),
        scores=torch.tensor([0.9]),
        labels=torch.tensor([0]),
        class_names=("Car", "Pedestrian"),
    )


@pytest.fixture
def finds_bunches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stock detector takes bunches of points for cars."""
    monkeypatch.setattr(StockDetector, "detect", _bunch)
