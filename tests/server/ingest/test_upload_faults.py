"""What goes wrong around an upload: links that break, garbage, disks and databases in trouble."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos import convert
from protos.status import REASON_KEY
from protos.v1 import ingest_pb2
from server.repositories.archive import SceneArchive
from server.stores.memory import MemoryPayloadStore
from server.stores.store import PartialPayload, PayloadStore
from shared_models.errors import StorageError, StorageFullError
from tests.loopback import BACKBONE, LoopbackServer, make_identity, make_scene
from tests.server.ingest.stream_driver import CHUNK, Stream, refusal


def test_broken_stream_is_resumed(server: LoopbackServer) -> None:
    stream, scene = Stream(server), make_scene()
    stream.begin(scene)
    stream.send(chunk=stream.chunks(scene)[0])
    stream.send(begin=convert.begin_to_message(make_scene(1).manifest))
    stream.answer()  # so the chunk has been written
    stream.call.cancel()
    again = Stream(server)
    assert again.begin(scene).send_from.offset == CHUNK


def test_vehicle_that_leaves_before_the_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def check(*_: Any) -> None:
        arrived.set()
        assert go_on.wait(20)

    scene = make_scene()
    with LoopbackServer(tmp_path, check_payload=check) as server:
        stream = Stream(server)
        stream.begin(scene)
        for chunk in stream.chunks(scene):
            stream.send(chunk=chunk)
        stream.send(finish=ingest_pb2.FinishScene(scene_id=bytes.fromhex(scene.manifest.scene_id)))
        assert arrived.wait(20)
        stream.call.cancel()
        again = Stream(server)
        again.send(begin=convert.begin_to_message(scene.manifest))
        go_on.set()
        assert again.answer().stored.was_already_stored
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_newer_stream_takes_a_scene_over(server: LoopbackServer) -> None:
    old, scene = Stream(server), make_scene()
    old.begin(scene)
    old.send(chunk=old.chunks(scene)[0])
    old.begin(make_scene(1))
    new = Stream(server)
    assert new.begin(scene).send_from.offset == CHUNK
    old.send(chunk=old.chunks(scene)[1])
    assert refusal(old.answer()) == ("REASON_TRY_LATER", True)
    for chunk in new.chunks(scene, CHUNK):
        new.send(chunk=chunk)
    assert new.finish(scene).WhichOneof("answer") == "stored"
    assert old.begin(scene).stored.was_already_stored


def test_scene_status(server: LoopbackServer) -> None:
    stream = Stream(server)
    stored, partial, unknown = (make_scene(number) for number in range(3))
    stream.upload(stored)
    stream.begin(partial)
    stream.send(chunk=stream.chunks(partial)[0])
    stream.begin(make_scene(3))
    ids = [bytes.fromhex(scene.manifest.scene_id) for scene in (stored, partial, unknown)]
    status = server.ingest().SceneStatus(ingest_pb2.SceneStatusRequest(vehicle_id="car-1", scene_ids=ids))
    state = ingest_pb2.SceneStatus
    assert [s.scene_id for s in status.scenes] == ids
    assert [s.state for s in status.scenes] == [state.STATE_STORED, state.STATE_PARTIAL, state.STATE_UNKNOWN]
    assert [s.committed_offset for s in status.scenes] == [10_000, CHUNK, 0]
    foreign = server.ingest().SceneStatus(ingest_pb2.SceneStatusRequest(vehicle_id="car-2", scene_ids=ids[:1]))
    assert foreign.scenes[0].state == state.STATE_UNKNOWN


@pytest.mark.parametrize("ids", [[b"short"], [bytes(32)] * 1001])
def test_scene_status_of_nonsense(server: LoopbackServer, ids: list[bytes]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.ingest().SceneStatus(ingest_pb2.SceneStatusRequest(vehicle_id="car-1", scene_ids=ids))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_bytes_that_are_no_message(server: LoopbackServer, caplog: pytest.LogCaptureFixture) -> None:
    raw = server.channel().stream_stream("/upcycle.v1.Ingest/Upload", lambda b: b, lambda b: b)
    with pytest.raises(grpc.RpcError) as caught:
        list(raw(iter([b"\xff" * 100])))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert dict(caught.value.trailing_metadata())[REASON_KEY] == "REASON_PROTOCOL"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert Stream(server).upload(make_scene()).WhichOneof("answer") == "stored"


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(range(256)) * 40,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 99,
    ],
)
def test_garbage_on_the_port_disturbs_nobody(server: LoopbackServer, noise: bytes) -> None:
    stream, scene = Stream(server), make_scene()
    stream.begin(scene)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(noise)
        for chunk in stream.chunks(scene):
            stream.send(chunk=chunk)
        assert stream.finish(scene).WhichOneof("answer") == "stored"


class FailingStore(MemoryPayloadStore):
    """Raises what `failures` gives before it works."""

    failures: list[Exception]

    def open_partial(self, key: str) -> PartialPayload:
        if self.failures:
            raise self.failures.pop()
        return super().open_partial(key)


def with_store(store: PayloadStore) -> Callable[[SceneArchive], SceneArchive]:
    return lambda archive: SceneArchive(catalogue=archive.catalogue, store=store)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(StorageFullError("no space"), "REASON_STORAGE_FULL"), (StorageError("gone"), "REASON_STORAGE")],
)
def test_disk_trouble_is_passing(tmp_path: Path, failure: Exception, reason: str) -> None:
    store = FailingStore()
    store.failures = []
    with LoopbackServer(tmp_path, change=with_store(store)) as server:
        stream = Stream(server)
        assert stream.upload(make_scene(1)).WhichOneof("answer") == "stored"
        store.failures = [failure]
        answer = stream.upload(make_scene(2))
        assert refusal(answer) == (reason, True)
        assert answer.refused.retry_after_ms >= 1000
        assert stream.upload(make_scene(2)).WhichOneof("answer") == "stored"
        assert server.archive.catalogue.counts().scenes == 2


def test_full_disk_while_a_payload_comes_in(
    server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    stream, scene = Stream(server), make_scene(1)
    stream.upload(make_scene(0))
    stream.begin(scene)
    full = threading.Event()
    full.set()
    write = os.write

    def write_or_fail(descriptor: int, data: bytes) -> int:
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr("server.stores.files.os.write", write_or_fail)
    stream.send(chunk=stream.chunks(scene)[0])
    assert refusal(stream.answer()) == ("REASON_STORAGE_FULL", True)
    assert not list((tmp_path / "data" / "partial").iterdir())
    full.clear()
    assert stream.upload(scene).WhichOneof("answer") == "stored"
    assert server.archive.catalogue.counts().scenes == 2


def test_nothing_is_answered_stored_before_it_is_in_the_catalogue(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("the database is gone")

    stream = Stream(server)
    monkeypatch.setattr(server.archive.catalogue, "add_many", fail)
    assert refusal(stream.upload(make_scene())) == ("REASON_STORAGE", True)
    monkeypatch.undo()
    assert stream.upload(make_scene()).WhichOneof("answer") == "stored"


def test_two_vehicles_at_once(server: LoopbackServer) -> None:
    one, two = Stream(server, make_identity("car-1")), Stream(server, make_identity("car-2"))
    scenes = [make_scene(7, vehicle="car-1"), make_scene(7, vehicle="car-2")]
    for stream, scene in zip((one, two), scenes, strict=True):
        stream.begin(scene)
    for stream, scene in zip((one, two), scenes, strict=True):
        for chunk in stream.chunks(scene):
            stream.send(chunk=chunk)
    assert [one.finish(scenes[0]).WhichOneof("answer"), two.finish(scenes[1]).WhichOneof("answer")] == ["stored"] * 2
    assert {s.manifest.vehicle_id for s in server.archive.catalogue.scenes()} == {"car-1", "car-2"}
    assert {s.manifest.backbone_hash for s in server.archive.catalogue.scenes()} == {BACKBONE}
