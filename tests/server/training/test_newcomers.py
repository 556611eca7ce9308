"""The check of new scenes against held-out frames, where vehicles guard what they send."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from server.training.follow_records import FollowRecords
from server.training.newcomers import HeldOutScenes, Newcomers
from server.training.preparation import prepare
from server.training.processes import Processes
from server.training.recipes.upcycling import Upcycling
from server.training.sources import labelled_frames, open_source
from server.training.stopping import StopRequest
from shared_models import codecs, guards
from shared_models.records import SceneFeatures
from tests.follow_runs import Fleet, make_fleet

GUARD = "noise,epsilon=8.0"  # a deviation of 5.2, ten times that of the features


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return make_fleet(tmp_path, "follow.admission.least_limit=8", f"settings.store.guard='{GUARD}'")


def parts_of(fleet: Fleet) -> tuple[Upcycling, HeldOutScenes, Newcomers]:
    recipe = prepare(fleet.run, fleet.data, Processes(), torch.device("cpu"))
    assert isinstance(recipe, Upcycling)
    assert fleet.run.data.evaluation is not None
    frames = labelled_frames(open_source(fleet.run.data.evaluation), recipe.setup.detector)
    held_out = HeldOutScenes(recipe, frames, fleet.run.follow.admission)
    return recipe, held_out, Newcomers(recipe, FollowRecords(fleet.folder.path), held_out, StopRequest())


def guarded(features: SceneFeatures) -> SceneFeatures:
    return guards.build(GUARD).apply(features, torch.Generator())


def test_held_out_frames_go_through_the_guard_of_the_vehicles(fleet: Fleet) -> None:
    _, held_out, newcomers = parts_of(fleet)
    made = [codecs.decode(payload) for payload in held_out.payloads()]
    assert len(made) == 12
    assert {features.guard for features in made} == {guards.build(GUARD).described()}
    fleet.upload("car-1", range(3), guarded)
    fleet.upload("car-2", range(3, 6))  # without the guard: not what this run learns from
    chosen = newcomers.look(1)
    assert {scene.manifest.vehicle_id for scene in chosen.scenes} == {"car-1"}
    assert len(chosen) == 3


def test_without_the_guard_they_would_keep_every_guarded_scene_out(fleet: Fleet, monkeypatch) -> None:
    _, _, newcomers = parts_of(fleet)
    fleet.upload("car-1", range(3), guarded)
    monkeypatch.setattr("server.training.guarding.GuardedScenes.apply", lambda self, features, *rest: features)
    assert len(newcomers.look(1)) == 0
