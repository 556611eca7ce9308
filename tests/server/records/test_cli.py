"""`upcycle server delete | export | verify-log`, also on the folder of a running server."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from protos.v1 import common_pb2
from server.cli import app
from server.repositories.archive import open_archive
from server.repositories.pseudonym import KEY_VARIABLE, open_pseudonyms
from server.stores.files import FilePayloadStore
from server.training.seen_scenes import SeenScenes
from shared_models.errors import InvalidValueError, NotFoundError, UnknownNameError
from tests.loopback import LoopbackServer, make_scene
from tests.server.ingest.stream_driver import Stream


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=answer)


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture
def filled(data: Path) -> Path:
    """A folder with scenes 0 to 3 of car-0 and car-1, taken at 1000 + number ns, stored at `number` days."""
    archive = open_archive(data, is_new_allowed=True)
    for number in range(4):
        scene = make_scene(number, size=100, vehicle=f"car-{number % 2}", region="north" if number == 3 else "")
        archive.add(scene, stored_at_ns=number * 86_400 * 10**9)
    archive.close()
    return data


def frames(data: Path) -> list[int]:
    archive = open_archive(data)
    try:
        return [int(scene.manifest.frame_id) for scene in archive.catalogue.scenes()]
    finally:
        archive.close()


def actions(data: Path) -> list[str]:
    archive = open_archive(data)
    try:
        return [entry.action for entry in archive.catalogue.log.entries()]
    finally:
        archive.close()


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (("--vehicle", "car-1"), [0, 2]),
        (("--region", "north"), [0, 1, 2]),
        (("--stored-from", "1970-01-02", "--stored-until", "1970-01-03T00:00:00Z"), [0, 2, 3]),
        (("--taken-from", "1970-01-02"), [0, 1, 2, 3]),
        (("--taken-until", "1970-01-02", "--vehicle", "car-0"), [1, 3]),
    ],
)
def test_delete_by(filled: Path, options: tuple[str, ...], kept: list[int]) -> None:
    dry = run("delete", "--data", str(filled), *options, "--dry-run")
    assert dry.exit_code == 0
    assert f"{4 - len(kept)} scenes, {100 * (4 - len(kept))} bytes" in dry.stdout
    assert frames(filled) == [0, 1, 2, 3]
    done = run("delete", "--data", str(filled), *options, "--yes")
    assert done.exit_code == 0
    assert f"deleted: {4 - len(kept)} scenes" in done.stdout
    assert "car-" not in done.output
    assert frames(filled) == kept
    assert run("verify-log", "--data", str(filled)).exit_code == 0


@pytest.mark.parametrize(
    ("guard", "kept"), [("none", [1, 2, 3]), ("decoys", [0, 2, 3]), ("decoys,share=0.25", [0, 1, 3])]
)
def test_delete_by_guard(data: Path, guard: str, kept: list[int]) -> None:
    archive = open_archive(data, is_new_allowed=True)
    for number, through in enumerate(("none", "decoys,share=0.5", "decoys,share=0.25", "")):
        scene = make_scene(number, size=100)
        archive._place(scene)
        archive.catalogue.add(scene.manifest, number, guard=through)
    archive.close()
    done = run("delete", "--data", str(data), "--guard", guard, "--yes")
    assert done.exit_code == 0
    assert frames(data) == kept
    assert run("verify-log", "--data", str(data)).exit_code == 0
    unknown = run("delete", "--data", str(data), "--guard", "shield", "--yes")
    assert isinstance(unknown.exception, UnknownNameError)
    assert frames(data) == kept


def test_delete_by_id_says_which_checkpoints_learned(filled: Path) -> None:
    archive = open_archive(filled)
    stored = list(archive.catalogue.scenes())
    archive.close()
    step = filled / "runs" / "run-1" / "checkpoints" / "step-10"
    step.mkdir(parents=True)
    SeenScenes.of(stored[:2]).write(step)
    ids = ("--scene", stored[0].scene_id, "--scene", stored[1].scene_id[:12])
    shown = json.loads(run("delete", "--data", str(filled), *ids, "--yes", "--json").stdout)
    assert (shown["scenes"], shown["payloads"], shown["payload_bytes"]) == (2, 2, 200)
    assert shown["affected"] == [{"run_id": "run-1", "path": str(step), "scenes": 2}]
    assert frames(filled) == [2, 3]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ((), InvalidValueError, "give --scene, or else"),
        (("--scene", "ab", "--region", "north"), InvalidValueError, "give --scene, or else"),
        (("--vehicle", "car-9"), NotFoundError, "without the key"),
        (("--stored-until", "soon"), InvalidValueError, "time: expected"),
        (("--region", "north"), InvalidValueError, "nobody to ask"),
        (("--stored-from", "1970-01-03", "--stored-until", "1970-01-02"), InvalidValueError, "expected at most"),
    ],
)
def test_delete_refuses(filled: Path, options: tuple[str, ...], error: type[Exception], message: str) -> None:
    result = run("delete", "--data", str(filled), *options)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert frames(filled) == [0, 1, 2, 3]


def test_delete_makes_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    for command in (("delete", "--region", "north", "--yes"), ("verify-log",)):
        result = run(*command, "--data", str(tmp_path / "none"))
        assert isinstance(result.exception, NotFoundError)
    assert not (tmp_path / "none").exists()


def test_verify_log(filled: Path) -> None:
    sound = run("verify-log", "--data", str(filled))
    assert sound.exit_code == 0
    assert "4 entries, head " in sound.stdout
    assert "only with --expect-head" in sound.stdout
    head = json.loads(run("verify-log", "--data", str(filled), "--json").stdout)["head"]["sha256"]
    assert run("verify-log", "--data", str(filled), "--expect-head", head).exit_code == 0
    assert isinstance(run("verify-log", "--data", str(filled), "--expect-head", head[:12]).exception, InvalidValueError)
    other = run("verify-log", "--data", str(filled), "--expect-head", "0" * 64)
    assert other.exit_code == 1
    assert "no entry has the hash" in other.stdout
    archive = open_archive(filled, is_new_allowed=True)
    with archive.catalogue.database.transaction(is_writing=True) as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql("DROP TRIGGER access_log_no_update")
        connection.exec_driver_sql("UPDATE access_log SET actor = 'user/eve' WHERE sequence = 2")
        connection.exec_driver_sql("DELETE FROM scenes WHERE frame_id = '000003'")
    archive.close()
    broken = run("verify-log", "--data", str(filled))
    assert broken.exit_code == 1
    assert "BROKEN at entry 2: changed" in broken.stdout
    assert "DISAGREES: scene" in broken.stdout
    assert "sound" not in broken.stdout


def test_export(filled: Path, tmp_path: Path) -> None:
    options = ("--data", str(filled), "--vehicle", "car-1", "--with-payloads")
    shown = json.loads(run("export", *options, "--out", str(tmp_path / "out"), "--json").stdout)
    assert (shown["scenes"], shown["payloads"], shown["payload_bytes"], shown["entries"]) == (2, 2, 200, 3)
    again = run("export", *options, "--out", str(tmp_path / "out"))
    assert isinstance(again.exception, InvalidValueError)
    assert actions(filled)[-1] == "export"


def test_list_and_show_are_logged_where_the_log_can_be_written(filled: Path, tmp_path: Path) -> None:
    listed = [json.loads(line) for line in run("ls", "--data", str(filled), "--json").stdout.splitlines()]
    assert len(listed) == 4
    run("show", listed[0]["scene_id"], "--data", str(filled))  # noise cannot be decoded, but it was asked for
    assert actions(filled)[-2:] == ["list", "read"]


def test_a_folder_that_cannot_be_written_is_read_all_the_same(
    filled: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from server.repositories import read_recorder
    from shared_models.errors import StorageError

    def refuse(*_arguments: Any, **_options: Any) -> None:  # whoever runs the tests may be allowed everything
        raise StorageError("read-only file system")

    monkeypatch.setattr(read_recorder, "open_archive", refuse)
    assert run("ls", "--data", str(filled)).exit_code == 0
    assert caplog.text.count("not in the log of access: read-only file system") == 1
    assert actions(filled) == ["upload"] * 4


def test_beside_a_running_server(data: Path) -> None:
    data.mkdir()
    pseudonyms = open_pseudonyms(data, is_new_allowed=True)
    mine, others = [make_scene(number) for number in range(3)], make_scene(9, vehicle="car-2")
    with LoopbackServer(data, pseudonyms=pseudonyms) as server:
        stream = Stream(server)
        for scene in mine:
            assert stream.upload(scene).WhichOneof("answer") == "stored"
        server.archive.add(others, stored_at_ns=5)
        shown = json.loads(run("delete", "--data", str(data), "--vehicle", "car-1", "--yes", "--json").stdout)
        assert (shown["scenes"], shown["payloads"], shown["arrived_meanwhile"]) == (3, 3, 0)
        assert [scene.scene_id for scene in server.archive.catalogue.scenes()] == [others.manifest.scene_id]
        again = stream.upload(mine[0])  # on the stream that was open all the time
        assert again.WhichOneof("answer") == "stored"
        assert not again.stored.was_already_stored
        assert (
            server.archive.encoded(server.archive.catalogue.get(mine[0].manifest.scene_id)).payload == mine[0].payload
        )
        ids = ("--scene", mine[0].manifest.scene_id)
        assert run("delete", "--data", str(data), *ids, "--yes", "--refuse-again").exit_code == 0
        refused = stream.upload(mine[0]).refused
        assert (refused.reason, refused.may_retry) == (common_pb2.REASON_PERMISSION_DENIED, False)
        assert "deleted by the operator" in refused.message
        assert stream.upload(mine[1]).WhichOneof("answer") == "stored"
        result = run("verify-log", "--data", str(data))
        assert result.exit_code == 0, result.output
    assert FilePayloadStore(data, is_read_only=True).names() <= needed(data)


def needed(data: Path) -> set[str]:
    archive = open_archive(data)
    try:
        return {scene.manifest.payload_sha256 for scene in archive.catalogue.scenes()}
    finally:
        archive.close()


def test_a_half_sent_scene_that_is_deleted_under_way_begins_anew(data: Path) -> None:
    with LoopbackServer(data) as server:
        stream, scene = Stream(server), make_scene()
        stream.begin(scene)
        stream.send(chunk=stream.chunks(scene)[0])
        stream.begin(make_scene(1))  # answered after the chunk
        assert os.listdir(data / "partial")
        done = run("delete", "--data", str(data), "--scene", scene.manifest.scene_id, "--yes")
        assert done.exit_code == 0, done.output
        for chunk in stream.chunks(scene, 4096):
            stream.send(chunk=chunk)
        assert stream.finish(scene).refused.may_retry
        assert stream.upload(scene).WhichOneof("answer") == "stored"
        assert server.archive.encoded(server.archive.catalogue.get(scene.manifest.scene_id)).payload == scene.payload
