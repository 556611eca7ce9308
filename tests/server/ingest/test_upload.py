"""Upload streams message by message against a real server: the order, the answers, and what is refused how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from protos import convert
from protos.policy import Limits
from protos.v1 import ingest_pb2
from shared_models.errors import PayloadError
from tests.loopback import OTHER_BACKBONE, LoopbackServer, make_identity, make_policy, make_scene
from tests.server.ingest.stream_driver import CHUNK, Stream, refusal


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

    policy = make_policy(limits=Limits(max_payload_bytes=8 << 20, max_chunk_bytes=1 << 20))
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
        ({"vehicle": "car-2"}, "REASON_PERMISSION_DENIED"),
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
    for number in range(8):
        stream.begin(make_scene(number))
    assert refusal(stream.begin(make_scene(8))) == ("REASON_TRY_LATER", True)


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
