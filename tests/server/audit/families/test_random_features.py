"""Random features bring the attacks that answer questions down to chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from server.audit.attack import Workbench
from server.audit.attacks.active_cells import ActiveCells
from server.audit.attacks.confidence import Confidence
from server.audit.attacks.linear_probe import LinearProbe
from server.audit.attacks.polar_map import PolarMap
from server.audit.controls import random_features
from server.audit.decision_measures import Visits, accuracy, auc, hit_chances_at, hits_at
from server.audit.scenes import AuditedVehicle, SceneTruth, make_paired, make_victims, view_of
from server.audit.scores import score_scene
from server.audit.threat import Ability, Budget, Threat
from shared_models import codecs

DRAWS = 12
THREAT = Threat(
    name="all", gives=(Ability.PAIRED, Ability.WHITE_BOX), origin="the same", budget=Budget(steps=10, seconds=60.0)
)


@pytest.fixture(scope="module")
def features(vehicle: AuditedVehicle, drawn: dict[str, list[SceneTruth]]):
    """Of the scenes of the places: two drives along each of four streets."""
    victims = make_victims(vehicle, drawn["places"], 0)
    return [codecs.decode(payload) for payload in victims.payloads]


def drawn_anew(features, seed: int) -> list[bytes]:
    generator = torch.Generator().manual_seed(seed)
    return [codecs.encode(random_features(each, generator), "float16") for each in features]


def test_places(vehicle: AuditedVehicle, drawn, features) -> None:
    truths = drawn["places"]
    visits = Visits.of([t.drive for t in truths], [t.street for t in truths], np.zeros((8, 2)), 1.0)
    found = []
    for seed in range(DRAWS):
        payloads = drawn_anew(features, seed)
        attack = PolarMap()
        attack.prepare(view_of(THREAT, vehicle, payloads), Workbench())
        found.append(hits_at(np.stack([attack.describe(p) for p in payloads]), visits, 1).mean())
    assert np.mean(found) == pytest.approx(hit_chances_at(visits, 1).mean(), abs=0.12)


def test_membership(vehicle: AuditedVehicle, features) -> None:
    attack = Confidence()
    attack.prepare(view_of(THREAT, vehicle, ()), Workbench())
    found = []
    for seed in range(3):
        scores = np.array([attack.membership_score(payload) for payload in drawn_anew(features, seed)])
        found += [auc(scores[::2], scores[1::2]), auc(scores[:4], scores[4:])]
    assert np.mean(found) == pytest.approx(0.5, abs=0.2)


def test_properties(vehicle: AuditedVehicle, drawn, features) -> None:
    """All with as many cells: their number alone tells a wet scene from a dry one, and stays with random features."""
    own = list(make_paired(vehicle, drawn["own dry"][:1], 0)) * 8
    found = []
    for seed in range(DRAWS):
        payloads = drawn_anew([features[0]] * 16, seed)
        values = ["dry", "wet"] * 8
        paired = [
            replace(scene, payload=payload, properties={"weather": value})
            for scene, payload, value in zip(own, payloads[:8], values[:8], strict=True)
        ]
        attack = LinearProbe()
        attack.property_name = "weather"
        attack.prepare(view_of(THREAT, vehicle, (), paired), Workbench())
        found.append(accuracy([attack.predict(payload) for payload in payloads[8:]], values[8:])[0])
    assert np.mean(found) == pytest.approx(0.5, abs=0.15)


@pytest.mark.usefixtures("finds_bunches")
def test_objects(run, stage, vehicle: AuditedVehicle) -> None:
    """What active cells give back of random features lies nowhere near the cars, and no car is found in it."""
    victims = stage.groups[0].victims
    attack = ActiveCells()
    attack.prepare(view_of(THREAT, vehicle, ()), Workbench())
    payloads = drawn_anew([codecs.decode(payload) for payload in victims.payloads], 3)
    for number, (payload, truth) in enumerate(zip(payloads, victims.truths, strict=True)):
        restored = attack.reconstruct(payload)
        assert score_scene(truth, restored, vehicle.geometry)["class/Car/f_score_0.2m"] < 0.1
        stage.folder.keep_scan("cells", "v", number, restored.points)
    numbers = run("detector", on="cells").groups["v"]
    assert numbers["ceilings"]["raw points"]["Car/found_loose"]["mean"] > 0
    assert numbers["floors"]["random points"]["Car/found_loose"]["mean"] == 0
    assert numbers["estimates"]["Car/found_loose"]["mean"] == 0
