"""`upcycle train --follow`: rounds over a store that changes, on real checkpoints, catalogues and files."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from server.ingest.delivery import list_published
from server.repositories.archive import open_run_log
from server.repositories.pseudonym import vehicle_tag
from server.training.follow_records import FollowRecords
from server.training.loop import TrainingLoop
from server.training.publishing import Publisher
from server.training.seen_scenes import checkpoints_that_saw, read_seen
from shared_models.checkpoints import read_manifest
from shared_models.errors import ConfigError, TrainingDivergedError
from tests.follow_runs import Fleet, make_fleet, noise, with_features, zeros
from tests.small_runs import digest, saved_tensors, small_run
from upcycle import follow_session
from upcycle.follow_session import follow, following
from upcycle.runs import app as runs_app


def fleet_in(folder: Path, *changes: str) -> Fleet:
    # Few held-out frames promise little: these tests are about scenes that are plainly wrong.
    return make_fleet(folder, "follow.admission.least_limit=8", *changes)


def rounds(fleet: Fleet, count: int = 1, **others: Any) -> list[str]:
    said: list[str] = []
    follow(fleet.run, fleet.data, None, announce=said.append, max_rounds=count, **others)
    return said


def seen_by(fleet: Fleet, step: int) -> set[str]:
    seen = read_seen(fleet.folder.checkpoint(step))
    assert seen is not None
    return {scene for own in seen.by_vehicle.values() for scene in own}


def ids(scenes) -> set[str]:
    return {scene.scene_id for scene in scenes}


def states(fleet: Fleet) -> dict[str, str]:
    return {scene: decision.state for scene, decision in fleet.records.decisions().items()}


def published(fleet: Fleet) -> str:
    return read_manifest(fleet.folder.path / "published").checkpoint_id


def checkpoint_id(fleet: Fleet, step: int) -> str:
    return read_manifest(fleet.folder.checkpoint(step)).checkpoint_id


def test_scenes_that_come_between_rounds_are_learned_from_and_poisoned_ones_never(tmp_path: Path) -> None:
    fleet = fleet_in(tmp_path)
    first = fleet.upload("car-1", range(4))
    said = rounds(fleet, 1)
    assert any(line.startswith("round 1: steps 1 to 2 on 4 scenes; since the round before 4 adm") for line in said)
    assert seen_by(fleet, 0) == set()
    assert seen_by(fleet, 2) == ids(first)
    bad = fleet.upload("car-2", range(4, 6), noise) + fleet.upload("car-2", range(6, 7), zeros)
    unreadable = fleet.store("car-3", [("junk", b"nothing"), ("cut", b"UPSF")])
    other_map = fleet.upload("car-3", range(1), lambda scene: with_features(scene, scene.grid.features[:, :4]))
    good = fleet.upload("car-4", range(7, 9))
    rounds(fleet)
    assert {scene for scene, state in states(fleet).items() if state == "admitted"} == ids(first) | ids(good)
    assert {scene for scene, state in states(fleet).items() if state == "quarantined"} == ids(
        [*bad, *unreadable, *other_map]
    )
    assert seen_by(fleet, 4) == ids(first) | ids(good)
    decisions = fleet.records.decisions()
    assert decisions[unreadable[0].scene_id].reasons[0]["statistic"].startswith("PayloadError: ")
    assert decisions[bad[0].scene_id].reasons[0]["statistic"].startswith("features/")
    assert decisions[bad[2].scene_id].reasons[0]["statistic"].startswith("all features are equal")
    kept = [(each.number, each.last_step, each.scenes, each.admitted, each.quarantined) for each in
            fleet.records.rounds()]  # fmt: skip
    assert kept == [(0, 0, 0, 0, 0), (1, 2, 4, 4, 0), (2, 4, 6, 2, 6)]
    run_log = open_run_log(fleet.data)
    numbers = {(s.step, s.name): s.value for s in run_log.scalars(fleet.folder.run_id)}
    (record,) = run_log.runs()
    run_log.close()
    assert (numbers[2, "follow/quarantined"], numbers[2, "follow/scenes"], numbers[4, "gate/is_passed"]) == (6, 6, 1)
    assert (record.state, record.step, record.total_steps) == ("stopped", 4, 0)


def test_the_published_checkpoint_is_what_a_server_hands_out(tmp_path: Path) -> None:
    link = tmp_path / "vehicles" / "model"
    fleet = fleet_in(tmp_path, f"follow.publish={link}")
    before = fleet.detector.backbone_hash
    fleet.upload("car-1", range(3))
    rounds(fleet, 1)
    assert [file.path.name for file in list_published(link)] == ["manifest.json", "model.safetensors"]
    manifest = read_manifest(link)
    assert manifest.checkpoint_id == checkpoint_id(fleet, 2) != checkpoint_id(fleet, 0)
    assert manifest.backbone_hash == before


def test_a_checkpoint_that_is_worse_is_not_published_and_training_goes_back(tmp_path: Path, monkeypatch) -> None:
    fleet = fleet_in(tmp_path, "follow.failed_rounds=2")
    ap = {0: 50.0, 2: 60.0, 4: 40.0, 6: 41.0}
    monkeypatch.setattr(follow_session._HeldOutFrames, "of", fake_ap(ap))
    first = fleet.upload("car-1", range(3))
    rounds(fleet)
    good = saved_tensors(fleet.folder.good)
    late = fleet.upload("car-2", range(3, 5))
    said = rounds(fleet)
    (judged,) = (line for line in said if "NOT published" in line)
    assert judged.startswith("round 2: step 4 NOT published: Car -20.0 points (more than 3 worse in 100% of the draws)")
    assert "mean -20.0 points (more than 1 worse in 100% of the draws) than the last published one" in judged
    assert published(fleet) == checkpoint_id(fleet, 2)
    assert seen_by(fleet, 4) & ids(late)  # it is kept, and what it saw is known
    begun = states_at_the_beginning_of_rounds(fleet, monkeypatch)
    with pytest.raises(TrainingDivergedError, match="2 rounds in a row were refused.*step 2 stays published"):
        rounds(fleet, 5)
    assert [record.is_passed for record in fleet.records.rounds()] == [True, True, False, False]
    with pytest.raises(TrainingDivergedError):  # the same command does not try for ever
        rounds(fleet, 5)
    assert len(fleet.records.rounds()) == 4
    assert published(fleet) == checkpoint_id(fleet, 2)
    assert seen_by(fleet, 2) == ids(first)
    # The third round began with the weights, moments and teacher of the published checkpoint, not the refused ones'.
    same = [name for name in good if name.startswith(("/detector/", "/optimiser/state", "/recipe/teacher"))]
    assert len(same) > 100
    assert [name for name in same if not torch.equal(begun[name], good[name])] == []


def fake_ap(ap: dict[int, float]) -> Callable[..., Any]:
    def of(self, checkpoint: Path):
        value = ap[int(checkpoint.name.removeprefix("step-"))]
        return lambda rows: {"Car": value, "Pedestrian": float("nan")}

    return of


def states_at_the_beginning_of_rounds(fleet: Fleet, monkeypatch) -> dict[str, torch.Tensor]:
    """The saved state of the round that was begun last, kept up to date."""
    kept: dict[str, torch.Tensor] = {}
    real = TrainingLoop.begin_round

    def begin(self, *given: Any) -> None:
        real(self, *given)
        kept.clear()
        kept.update(saved_tensors(fleet.folder.state))

    monkeypatch.setattr(TrainingLoop, "begin_round", begin)
    return kept


def test_killed_anywhere_it_goes_on_as_if_nothing_had_been(tmp_path: Path, monkeypatch) -> None:
    def story(folder: Path, interruptions: list[Callable[[], Any]]) -> Fleet:
        fleet = fleet_in(folder, "loop.save_every=1")
        fleet.upload("car-1", range(4))
        fleet.upload("car-2", range(4, 5), noise)
        for interruption in interruptions:
            with monkeypatch.context() as patch:
                interruption(patch)
                with pytest.raises(Killed):
                    rounds(fleet)
        if not interruptions:  # the last of them comes after the round was judged
            rounds(fleet)
        fleet.upload("car-3", range(5, 7))
        rounds(fleet)
        return fleet

    whole = story(tmp_path / "whole", [])
    killed = story(
        tmp_path / "killed",
        [
            lambda patch: kill_in(patch, FollowRecords, "add_round"),  # round 0 published, not recorded
            lambda patch: kill_in(patch, FollowRecords, "decide", after=True),  # decided, round not begun
            lambda patch: kill_in(patch, TrainingLoop, "_after", after=True),  # one step of round 1
            lambda patch: kill_in(patch, Publisher, "publish", after=True),
            lambda patch: kill_in(patch, FollowRecords, "add_round", after=True),  # judged, nothing told
        ],
    )
    assert plain(killed) == plain(whole)
    assert digest(saved_tensors(killed.folder.good)) == digest(saved_tensors(whole.folder.good))
    assert seen_by(killed, 4) == seen_by(whole, 4)


class Killed(BaseException):
    """What stands for kill -9: nothing that catches errors sees it."""


def kill_in(patch, owner: type, name: str, after: bool = False) -> None:
    real = getattr(owner, name)

    def killed(*given: Any, **named: Any) -> None:
        if after:
            real(*given, **named)
        raise Killed

    patch.setattr(owner, name, killed)


def plain(fleet: Fleet) -> tuple[Any, ...]:
    """Decisions and rounds without times."""
    decisions = [(each.scene_id, each.state, each.round) for each in fleet.records.decisions().values()]
    records = [
        (each.number, each.last_step, each.scenes, each.admitted, each.quarantined, each.is_passed)
        for each in fleet.records.rounds()
    ]
    return sorted(decisions), records


def test_a_deleted_vehicle_is_not_learned_from_again_and_it_is_known_what_it_taught(tmp_path: Path) -> None:
    fleet = fleet_in(tmp_path)
    gone = fleet.upload("car-1", range(2))
    stays = fleet.upload("car-2", range(2, 4))
    rounds(fleet)
    fleet.delete("car-1")
    new = fleet.upload("car-3", range(4, 6))
    rounds(fleet)
    assert {states(fleet)[scene] for scene in ids(gone)} == {"removed"}
    assert "car-1" not in fleet.records._scenes.read_text()
    record = fleet.records.rounds()[2]
    assert (record.scenes, record.removed) == (4, 2)
    steps = [each.path.name for each in checkpoints_that_saw(fleet.data, vehicle=vehicle_tag("car-1"))]
    # Step 4 goes on from weights that had learned from it: deleting a scene does not make a network forget it.
    assert steps == ["step-00000002", "step-00000004", "state", "good"]
    later = [each.path.name for each in checkpoints_that_saw(fleet.data, vehicle=vehicle_tag("car-3"))]
    assert later == ["step-00000004", "state", "good"]
    assert seen_by(fleet, 4) == ids([*gone, *stays, *new])


def test_scenes_that_are_deleted_in_the_middle_of_a_round_are_left_out(tmp_path: Path) -> None:
    fleet = fleet_in(tmp_path, "follow.round_steps=6", "settings.unlabelled_ratio=1")
    gone, stays = fleet.upload("car-1", range(3)), fleet.upload("car-2", range(3, 6))

    def delete_after_the_first_step(step: int, total: int, numbers) -> None:
        if step == 1:
            fleet.delete("car-1")

    said: list[str] = []
    follow(fleet.run, fleet.data, delete_after_the_first_step, announce=said.append, max_rounds=1)
    assert "3 scenes of this round were deleted; it goes on without them" in said
    (record,) = fleet.records.rounds()[1:]
    assert (record.last_step, record.scenes, record.is_passed) == (6, 3, True)
    seen = seen_by(fleet, 6)
    assert ids(stays) <= seen
    assert len(seen & ids(gone)) <= 2  # those of the first step, in a batch of two


def test_it_waits_and_says_so_until_a_signal_comes(tmp_path: Path) -> None:
    fleet = fleet_in(tmp_path)
    said: list[str] = []

    def listen(line: str) -> None:
        said.append(line)
        if line.startswith("waiting"):
            os.kill(os.getpid(), signal.SIGTERM)

    outcome = follow(fleet.run, fleet.data, None, announce=listen)
    assert (outcome.state, outcome.step) == ("stopped", 0)
    assert said[-1].startswith(f"waiting for scenes of backbone {fleet.detector.backbone_hash[:12]}: 0 can be learned")
    assert [record.number for record in fleet.records.rounds()] == [0]
    assert published(fleet) == checkpoint_id(fleet, 0)


def test_people_release_and_reject(tmp_path: Path) -> None:
    fleet = fleet_in(tmp_path)
    fleet.upload("car-1", range(3))
    bad = fleet.upload("car-2", range(3, 5), noise)
    rounds(fleet)

    def quarantine(*words: str):
        return CliRunner().invoke(
            runs_app, ["quarantine", fleet.folder.run_id, *words, "--data", str(fleet.data)], env={"COLUMNS": "200"}
        )

    shown = [json.loads(line) for line in quarantine("--json").stdout.splitlines()]
    assert {each["scene_id"] for each in shown} == ids(bad)
    assert shown[0]["vehicle"] == vehicle_tag("car-2")
    assert bad[0].scene_id[:12] in quarantine().stdout
    result = quarantine("--release", bad[0].scene_id[:12], "--reject", bad[1].scene_id)
    assert result.exit_code == 0, result.output
    assert quarantine("--json").stdout == ""
    rounds(fleet)
    assert seen_by(fleet, 4) & ids(bad) == {bad[0].scene_id}
    assert fleet.records.rounds()[2].scenes == 4
    assert quarantine("--release", bad[1].scene_id).exit_code != 0  # not in quarantine any more


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (("recipe=supervised",), "recipe must be upcycling, not supervised"),
        (("recipe=upcycling",), "give detector.checkpoint"),
        (("recipe=upcycling", "detector={checkpoint='somewhere'}"), "give data.evaluation"),
    ],
)
def test_runs_that_cannot_follow_are_refused(tmp_path: Path, changes: tuple[str, ...], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        following(small_run(tmp_path, *changes))
