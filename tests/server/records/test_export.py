"""What an export holds, and that it is there whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.records.export import Request, export_vehicle
from server.records.vehicle_names import names_held, possible_names
from server.repositories.access_log import Action, Event
from server.repositories.archive import SceneArchive
from server.repositories.pseudonym import Pseudonyms, vehicle_tag
from server.repositories.removal import Removal
from server.training.seen_scenes import SeenScenes
from shared_models.errors import InvalidValueError, StorageError
from shared_models.records import EncodedScene
from tests.loopback import make_scene

DAY_NS = 86_400 * 10**9
OLD_NS, NEW_NS = 600 * 30 * DAY_NS, 601 * 30 * DAY_NS
KEY = Pseudonyms(b"k" * 32)


def put(archive: SceneArchive, number: int, vehicle: str, at_ns: int) -> EncodedScene:
    scene = make_scene(number, size=300, vehicle=vehicle, region="north")
    partial = archive.store.open_partial(scene.manifest.scene_id)
    partial.append(scene.payload)
    partial.commit()
    named = replace(scene.manifest, vehicle_id=KEY.stored_name(vehicle, at_ns))
    archive.catalogue.add(named, at_ns, scene.manifest.scene_id)
    return scene


@pytest.fixture
def scenes(archive: SceneArchive, data: Path) -> list[EncodedScene]:
    """Two of car-1 in two periods, one of it that is deleted, one of car-2; a checkpoint that saw the first."""
    put_in = [put(archive, number, "car-1", at_ns) for number, at_ns in enumerate((OLD_NS, NEW_NS, OLD_NS))]
    put_in.append(put(archive, 7, "car-2", NEW_NS))
    archive.catalogue.remove([put_in[2].manifest.scene_id], Removal(actor="user/ada", at_ns=NEW_NS))
    archive.store.remove(put_in[2].manifest.payload_sha256)
    reading = Event(at_ns=NEW_NS, actor="user/ada", action=Action.READ, subject=put_in[0].manifest.scene_id)
    asked = Event(
        at_ns=NEW_NS, actor="auditor/ann", action=Action.LIST, detail={"vehicle": KEY.tag("car-1", NEW_NS), "scenes": 2}
    )
    other = replace(reading, subject=put_in[3].manifest.scene_id)
    archive.catalogue.log.append([reading, asked, other])
    checkpoint = data / "runs" / "run-1" / "checkpoints" / "step-10"
    checkpoint.mkdir(parents=True)
    SeenScenes.of([archive.catalogue.get(put_in[0].manifest.scene_id)]).write(checkpoint)
    return put_in


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def request(archive: SceneArchive, vehicle: str, with_payloads: bool = False) -> Request:
    names = names_held(archive.catalogue, vehicle, KEY)
    return Request(stored=names, possible=possible_names(vehicle, KEY), with_payloads=with_payloads)


def test_everything_of_one_vehicle(
    archive: SceneArchive, data: Path, tmp_path: Path, scenes: list[EncodedScene]
) -> None:
    out = tmp_path / "out"
    exported = export_vehicle(archive, data, request(archive, "car-1", True), out, "user/ada", NEW_NS)
    assert {path.name for path in out.iterdir()} == {
        "about.json",
        "scenes.jsonl",
        "log.jsonl",
        "runs.jsonl",
        "payloads",
    }
    rows = lines(out / "scenes.jsonl")
    assert [row["scene_id"] for row in rows] == [scene.manifest.scene_id for scene in scenes[:2]]
    assert [(row["frame_id"], row["region"], row["stored_at_ns"]) for row in rows] == [
        ("000000", "north", OLD_NS),
        ("000001", "north", NEW_NS),
    ]
    payloads = {path.name: path.read_bytes() for path in (out / "payloads").iterdir()}
    assert payloads == {scene.manifest.payload_sha256: scene.payload for scene in scenes[:2]}
    entries = lines(out / "log.jsonl")
    assert [entry["action"] for entry in entries] == [
        "upload", "upload", "upload", "removed", "read", "list", "export",
    ]  # fmt: skip
    assert entries[3]["subject"] == scenes[2].manifest.scene_id
    assert entries[4]["subject"] == scenes[0].manifest.scene_id
    assert [row["run_id"] for row in lines(out / "runs.jsonl")] == ["run-1"]
    about = json.loads((out / "about.json").read_text())
    assert about["tags"] == sorted(KEY.tag("car-1", at_ns) for at_ns in (OLD_NS, NEW_NS))
    assert about["log_head"]["sha256"] == archive.catalogue.log.head().sha256
    assert (exported.scenes, exported.entries, exported.affected) == (2, 7, 1)
    assert (exported.payloads, exported.payload_bytes) == (2, 600)
    assert "car-1" not in "".join(path.read_text() for path in out.glob("*.json*"))
    assert oct(out.stat().st_mode & 0o777) == "0o700"


def test_nothing_but_the_log_is_left_of_a_vehicle(
    archive: SceneArchive, data: Path, tmp_path: Path, scenes: list[EncodedScene]
) -> None:
    names = names_held(archive.catalogue, "car-2", KEY)
    assert {vehicle_tag(name) for name in names} == {KEY.tag("car-2", NEW_NS)}
    archive.catalogue.remove([scenes[3].manifest.scene_id], Removal())
    out = tmp_path / "out"
    export_vehicle(archive, data, request(archive, "car-2"), out, "user/ada", NEW_NS)
    assert lines(out / "scenes.jsonl") == []
    assert not (out / "payloads").exists()
    assert [entry["action"] for entry in lines(out / "log.jsonl")] == ["upload", "read", "removed", "export"]


def test_a_folder_that_holds_something_is_refused(
    archive: SceneArchive, data: Path, tmp_path: Path, scenes: list[EncodedScene]
) -> None:
    head = archive.catalogue.log.head()
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(InvalidValueError, match="empty or not there yet"):
            export_vehicle(archive, data, request(archive, "car-1"), out, "user/ada", NEW_NS)
    assert archive.catalogue.log.head() == head
    empty = tmp_path / "empty"
    empty.mkdir()
    export_vehicle(archive, data, request(archive, "car-1"), empty, "user/ada", NEW_NS)
    assert (empty / "about.json").exists()


def test_a_damaged_payload_leaves_nothing_behind(
    archive: SceneArchive, data: Path, tmp_path: Path, scenes: list[EncodedScene]
) -> None:
    sha256 = scenes[1].manifest.payload_sha256
    (data / "payloads" / sha256[:2] / sha256).write_bytes(b"other")
    before = set(tmp_path.iterdir())
    with pytest.raises(StorageError, match="damaged"):
        export_vehicle(archive, data, request(archive, "car-1", True), tmp_path / "out", "user/ada", NEW_NS)
    assert set(tmp_path.iterdir()) == before
    assert list(archive.catalogue.log.entries())[-1].action == "export"  # it was tried
