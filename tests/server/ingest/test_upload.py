"""Upload streams message by message against a real server: the order, the answers, and what is refused how."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos import convert
from protos.status import REASON_KEY
from protos.v1 import common_pb2, ingest_pb2
from server.repositories.archive import SceneArchive
from server.stores.memory import MemoryPayloadStore
from server.stores.store import PartialPayload, PayloadStore
from shared_models.errors import PayloadError, StorageError, StorageFullError
from shared_models.records import EncodedScene
from tests.loopback import BACKBONE, OTHER_BACKBONE, LoopbackServer, make_identity, make_policy, make_scene

CHUNK = 4096
Request, Answer = ingest_pb2.UploadRequest, ingest_pb2.SceneAnswer


class Stream:
    """One upload stream, driven message by message."""

    def __init__(self, server: LoopbackServer, identity: Any = None, hello: bool = True) -> None:
        self._outgoing: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self.call = server.ingest().Upload(iter(self._outgoing.get, None), timeout=20)
        if hello:
            self.send(hello=convert.hello_to_message(identity or make_identity()))
            self.welcome = next(self.call).welcome

    def send(self, **message: Any) -> None:
        self._outgoing.put(Request(**message))

    def begin(self, scene: EncodedScene) -> Answer:
        self.send(begin=convert.begin_to_message(scene.manifest))
        return self.answer()

    def chunks(self, scene: EncodedScene, offset: int = 0) -> list[ingest_pb2.Chunk]:
        return list(convert.chunks_of(scene, CHUNK, offset))

    def finish(self, scene: EncodedScene) -> Answer:
        self.send(finish=ingest_pb2.FinishScene(scene_id=bytes.fromhex(scene.manifest.scene_id)))
        return self.answer()

    def upload(self, scene: EncodedScene) -> Answer:
        answer = self.begin(scene)
        if answer.WhichOneof("answer") != "send_from":
            return answer
        for chunk in self.chunks(scene, answer.send_from.offset):
            self.send(chunk=chunk)
        return self.finish(scene)

    def answer(self) -> Answer:
        response = next(self.call)
        assert response.WhichOneof("message") == "scene", response
        return response.scene

    def end(self) -> grpc.StatusCode:
        self._outgoing.put(None)
        return self.status()

    def status(self) -> grpc.StatusCode:
        try:
            for _ in self.call:
                pass
        except grpc.RpcError:
            pass
        return self.call.code()

    def reason(self) -> str:
        return dict(self.call.trailing_metadata())[REASON_KEY]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LoopbackServer]:
    with LoopbackServer(tmp_path / "data") as running:
        yield running


def refusal(answer: Answer) -> tuple[str, bool]:
    assert answer.WhichOneof("answer") == "refused", answer
    return common_pb2.Reason.Name(answer.refused.reason), answer.refused.may_retry


def test_scene_is_stored_byte_for_byte(server: LoopbackServer) -> None:
    stream, scene = Stream(server), make_scene()
    answer = stream.upload(scene)
    assert answer.scene_id.hex() == scene.manifest.scene_id
    assert answer.stored.stored_at_ns > 0
    assert not answer.stored.was_already_stored
    assert stream.end() == grpc.StatusCode.OK
    (stored,) = server.archive.catalogue.scenes()
    assert server.archive.encoded(stored) == scene


def test_second_upload_is_answered_without_the_payload(server: LoopbackServer) -> None:
    Stream(server).upload(make_scene())
    answer = Stream(server).begin(make_scene())
    assert answer.stored.was_already_stored
    assert server.archive.catalogue.counts().scenes == 1


def test_welcome_tells_the_policy(server: LoopbackServer) -> None:
    terms = convert.welcome_from_message(Stream(server).welcome)
    assert terms.protocol_version == 1
    assert terms.policy == make_policy()
    assert server.ingest().Handshake(convert.hello_to_message(make_identity())) == Stream(server).welcome


def test_empty_payload(server: LoopbackServer) -> None:
    assert Stream(server).upload(make_scene(size=0)).WhichOneof("answer") == "stored"


def test_scenes_take_turns_on_one_stream(server: LoopbackServer) -> None:
    stream, scenes = Stream(server), [make_scene(n) for n in range(3)]
    for scene in scenes:
        assert stream.begin(scene).send_from.offset == 0
    for chunks in zip(*(stream.chunks(scene) for scene in scenes), strict=True):
        for chunk in chunks:
            stream.send(chunk=chunk)
    assert {stream.finish(scene).WhichOneof("answer") for scene in scenes} == {"stored"}
    assert [server.archive.encoded(s) for s in server.archive.catalogue.scenes()] == scenes


def test_credit_comes_back(tmp_path: Path) -> None:
    from server.ingest.config import IngestConfig

    policy = make_policy(limits=convert.Limits(max_payload_bytes=8 << 20, max_chunk_bytes=1 << 20))
    scene = make_scene(size=5 << 20)
    with LoopbackServer(tmp_path, policy, config=IngestConfig(credit_bytes=2 << 20)) as server:
        stream = Stream(server)
        assert stream.welcome.credit_bytes == 2 << 20
        stream.begin(scene)
        for chunk in convert.chunks_of(scene, 1 << 20):
            stream.send(chunk=chunk)
            assert next(stream.call).credit.bytes == 1 << 20
        assert stream.finish(scene).WhichOneof("answer") == "stored"


@pytest.mark.parametrize(
    ("changed", "status", "reason"),
    [
        ({"backbone_hash": OTHER_BACKBONE}, "FAILED_PRECONDITION", "REASON_BACKBONE_MISMATCH"),
        ({"codecs": ("int2",)}, "FAILED_PRECONDITION", "REASON_CODEC_REFUSED"),
        ({"codecs": ()}, "FAILED_PRECONDITION", "REASON_CODEC_REFUSED"),
        ({"protocol_versions": (2, 3)}, "FAILED_PRECONDITION", "REASON_VERSION"),
        ({"protocol_versions": ()}, "FAILED_PRECONDITION", "REASON_VERSION"),
    ],
)
def test_refused_at_hello(server: LoopbackServer, changed: dict[str, Any], status: str, reason: str) -> None:
    hello = convert.hello_to_message(make_identity(**changed))
    stream = Stream(server, hello=False)
    stream.send(hello=hello)
    assert stream.status().name == status
    assert stream.reason() == reason
    with pytest.raises(grpc.RpcError) as caught:
        server.ingest().Handshake(hello)
    assert caught.value.code().name == status


@pytest.mark.parametrize(
    "first",
    [
        {"finish": ingest_pb2.FinishScene(scene_id=bytes(32))},
        {"hello": ingest_pb2.Hello()},
        {"hello": ingest_pb2.Hello(vehicle_id="a/b", backbone_hash=bytes(32), split_layer="x")},
        {"hello": ingest_pb2.Hello(vehicle_id="a", backbone_hash=bytes(31), split_layer="x")},
        {},
    ],
)
def test_stream_must_begin_with_a_sound_hello(server: LoopbackServer, first: dict[str, Any]) -> None:
    stream = Stream(server, hello=False)
    stream.send(**first)
    assert (stream.status().name, stream.reason()) == ("INVALID_ARGUMENT", "REASON_PROTOCOL")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"backbone_hash": OTHER_BACKBONE}, "REASON_BACKBONE_MISMATCH"),
        ({"codec": "int4"}, "REASON_CODEC_REFUSED"),
        ({"size": (1 << 20) + 1}, "REASON_PAYLOAD_TOO_LARGE"),
        ({"vehicle": "car-2"}, "REASON_PROTOCOL"),
    ],
)
def test_refused_scene_does_not_end_the_stream(server: LoopbackServer, changed: dict[str, Any], reason: str) -> None:
    stream = Stream(server)
    assert refusal(stream.begin(make_scene(1, **changed))) == (reason, False)
    assert stream.upload(make_scene(2)).WhichOneof("answer") == "stored"


def test_oversized_declaration_costs_nothing(server: LoopbackServer) -> None:
    manifest = convert.manifest_to_message(make_scene().manifest)
    manifest.payload_bytes = 2**63
    begin = ingest_pb2.BeginScene(scene_id=bytes.fromhex(make_scene().manifest.scene_id), manifest=manifest)
    stream = Stream(server)
    stream.send(begin=begin)
    assert refusal(stream.answer()) == ("REASON_PAYLOAD_TOO_LARGE", False)


def test_scene_id_must_follow_from_the_manifest(server: LoopbackServer) -> None:
    begin = convert.begin_to_message(make_scene().manifest)
    begin.scene_id = bytes(32)
    stream = Stream(server)
    stream.send(begin=begin)
    assert refusal(stream.answer()) == ("REASON_PROTOCOL", False)


def test_damaged_chunk_is_sent_again_from_the_last_good_byte(server: LoopbackServer) -> None:
    stream, scene = Stream(server), make_scene()
    stream.begin(scene)
    chunks = stream.chunks(scene)
    stream.send(chunk=chunks[0])
    chunks[1].crc32 ^= 1
    stream.send(chunk=chunks[1])
    stream.send(chunk=chunks[2])  # was under way already: ignored
    assert refusal(stream.answer()) == ("REASON_INTEGRITY", True)
    assert stream.begin(scene).send_from.offset == CHUNK
    for chunk in stream.chunks(scene, CHUNK):
        stream.send(chunk=chunk)
    assert stream.finish(scene).WhichOneof("answer") == "stored"


@pytest.mark.parametrize("order", [[1], [0, 2], [0, 0], [0, 1, 0]])
def test_chunks_out_of_order(server: LoopbackServer, order: list[int]) -> None:
    stream, scene = Stream(server), make_scene()
    stream.begin(scene)
    for index in order:
        stream.send(chunk=stream.chunks(scene)[index])
    assert refusal(stream.answer()) == ("REASON_PROTOCOL", True)
    assert stream.upload(scene).WhichOneof("answer") == "stored"


@pytest.mark.parametrize("data", [b"", bytes(CHUNK + 1)])
def test_chunk_sizes(server: LoopbackServer, data: bytes) -> None:
    stream, scene = Stream(server), make_scene()
    stream.begin(scene)
    stream.send(chunk=ingest_pb2.Chunk(scene_id=bytes.fromhex(scene.manifest.scene_id), data=data))
    assert refusal(stream.answer()) == ("REASON_PROTOCOL", True)


def test_more_than_declared(server: LoopbackServer) -> None:
    stream, scene = Stream(server), make_scene(size=10)
    stream.begin(scene)
    longer = make_scene(size=20)
    (chunk,) = stream.chunks(longer)
    chunk.scene_id = bytes.fromhex(scene.manifest.scene_id)
    stream.send(chunk=chunk)
    assert refusal(stream.answer()) == ("REASON_PROTOCOL", True)


def test_finished_too_early_keeps_what_came(server: LoopbackServer) -> None:
    stream, scene = Stream(server), make_scene()
    stream.begin(scene)
    stream.send(chunk=stream.chunks(scene)[0])
    assert refusal(stream.finish(scene)) == ("REASON_PROTOCOL", True)
    assert stream.begin(scene).send_from.offset == CHUNK


def test_wrong_hash_drops_what_came(server: LoopbackServer) -> None:
    stream, scene, other = Stream(server), make_scene(1), make_scene(2)
    stream.begin(scene)
    for chunk in stream.chunks(other):
        chunk.scene_id = bytes.fromhex(scene.manifest.scene_id)
        stream.send(chunk=chunk)
    assert refusal(stream.finish(scene)) == ("REASON_INTEGRITY", True)
    assert server.archive.catalogue.counts().scenes == 0
    assert stream.begin(scene).send_from.offset == 0


def test_payload_that_is_not_what_its_manifest_says(tmp_path: Path) -> None:
    def check(manifest: Any, payload: bytes) -> None:
        if manifest.frame_id == "000001":
            raise PayloadError("the header says float16")

    with LoopbackServer(tmp_path, check_payload=check) as server:
        stream = Stream(server)
        assert refusal(stream.upload(make_scene(1))) == ("REASON_PAYLOAD", False)
        assert stream.upload(make_scene(2)).WhichOneof("answer") == "stored"


def test_too_many_scenes_in_flight(server: LoopbackServer) -> None:
    stream = Stream(server)
    for number in range(4):
        stream.begin(make_scene(number))
    assert refusal(stream.begin(make_scene(4))) == ("REASON_TRY_LATER", True)


@pytest.mark.parametrize(
    "message",
    [
        {"hello": ingest_pb2.Hello()},
        {"chunk": ingest_pb2.Chunk(scene_id=bytes(32), data=b"x")},
        {"chunk": ingest_pb2.Chunk(scene_id=b"short", data=b"x")},
        {"finish": ingest_pb2.FinishScene(scene_id=bytes(32))},
        {"begin": ingest_pb2.BeginScene()},
    ],
)
def test_messages_that_make_no_sense_end_the_stream(server: LoopbackServer, message: dict[str, Any]) -> None:
    stream = Stream(server)
    stream.send(**message)
    assert (stream.status().name, stream.reason()) == ("INVALID_ARGUMENT", "REASON_PROTOCOL")
    assert Stream(server).upload(make_scene()).WhichOneof("answer") == "stored"


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
    monkeypatch.setattr(server.archive.catalogue, "add", fail)
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
