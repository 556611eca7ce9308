"""Scenes whose begin carries their first bytes, or all of them, against a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from protos import convert
from protos.policy import Limits
from protos.v1 import ingest_pb2
from server.records.verification import verify
from server.repositories.removal import Removal
from shared_models.errors import PayloadError
from shared_models.records import EncodedScene
from tests.loopback import LoopbackServer, make_policy, make_scene
from tests.server.ingest.stream_driver import CHUNK, Answer, Stream, refusal


def begin(stream: Stream, scene: EncodedScene, size: int | None = None, **changed: Any) -> None:
    message = convert.begin_to_message(scene.manifest, data=scene.payload[:size])
    for name, value in changed.items():
        setattr(message, name, value)
    stream.send(begin=message)


def small(number: int = 0, **changed: Any) -> EncodedScene:
    return make_scene(number, **{"size": 3000, **changed})


def begun(stream: Stream, scene: EncodedScene, size: int | None = None, **changed: Any) -> Answer:
    begin(stream, scene, size, **changed)
    return stream.answer()


def test_a_small_scene_is_one_message_and_one_answer(server: LoopbackServer) -> None:
    stream = Stream(server)
    assert stream.welcome.takes_data_in_begin
    answer = begun(stream, small())
    assert answer.scene_id.hex() == small().manifest.scene_id
    assert (answer.stored.stored_at_ns > 0, answer.stored.was_already_stored) == (True, False)
    assert stream.end() == grpc.StatusCode.OK
    (stored,) = server.archive.catalogue.scenes()
    assert server.archive.encoded(stored) == small()


def test_many_at_once_each_get_their_answer(server: LoopbackServer) -> None:
    stream, scenes = Stream(server), [small(number) for number in range(8)]
    for scene in scenes:
        begin(stream, scene)
    answers = {answer.scene_id.hex(): answer.WhichOneof("answer") for answer in (stream.answer() for _ in scenes)}
    assert answers == {scene.manifest.scene_id: "stored" for scene in scenes}
    assert {s.scene_id for s in server.archive.catalogue.scenes()} == answers.keys()
    assert verify(server.archive).is_sound


def test_a_stored_scene_is_known_and_neither_logged_nor_counted_again(server: LoopbackServer) -> None:
    stream = Stream(server)
    begun(stream, small())
    entries = len(list(server.archive.catalogue.log.entries()))
    assert begun(stream, small()).stored.was_already_stored
    assert len(list(server.archive.catalogue.log.entries())) == entries
    assert server.archive.catalogue.counts().scenes == 1


def test_a_deleted_scene_is_refused_and_its_payload_is_not_kept(server: LoopbackServer) -> None:
    stream, scene = Stream(server), small()
    begun(stream, scene)
    removal = Removal(is_refused_again=True)
    server.archive.catalogue.remove([scene.manifest.scene_id], removal)
    server.archive.store.remove(scene.manifest.payload_sha256)
    assert refusal(begun(stream, scene)) == ("REASON_PERMISSION_DENIED", False)
    assert not server.archive.store.has(scene.manifest.payload_sha256)


def test_a_damaged_whole_is_refused_and_comes_again(server: LoopbackServer) -> None:
    stream, scene = Stream(server), small()
    assert refusal(begun(stream, scene, data=bytes(3000))) == ("REASON_INTEGRITY", True)
    assert server.archive.catalogue.counts().scenes == 0
    assert begun(stream, scene).WhichOneof("answer") == "stored"


def test_a_payload_that_is_not_what_its_manifest_says(tmp_path: Path) -> None:
    def check(manifest: Any, payload: bytes) -> None:
        if manifest.frame_id == "000001":
            raise PayloadError("the header says float16")

    with LoopbackServer(tmp_path, check_payload=check) as server:
        stream = Stream(server)
        begin(stream, small(1))
        begin(stream, small(2))
        answers = {answer.scene_id.hex(): answer for answer in (stream.answer() for _ in range(2))}
        assert refusal(answers[small(1).manifest.scene_id]) == ("REASON_PAYLOAD", False)
        assert answers[small(2).manifest.scene_id].WhichOneof("answer") == "stored"


def test_the_first_bytes_of_a_larger_scene(server: LoopbackServer) -> None:
    stream, scene = Stream(server), make_scene()
    assert begun(stream, scene, CHUNK).send_from.offset == CHUNK
    for chunk in stream.chunks(scene, CHUNK):
        stream.send(chunk=chunk)
    assert stream.finish(scene).WhichOneof("answer") == "stored"
    (stored,) = server.archive.catalogue.scenes()
    assert server.archive.encoded(stored) == scene


def test_first_bytes_that_the_server_holds_already_are_left(server: LoopbackServer) -> None:
    stream, scene = Stream(server), make_scene()
    stream.begin(scene)
    for chunk in stream.chunks(scene)[:2]:
        stream.send(chunk=chunk)
    stream.end()
    stream = Stream(server)
    assert begun(stream, scene, CHUNK).send_from.offset == 2 * CHUNK
    for chunk in stream.chunks(scene, 2 * CHUNK):
        stream.send(chunk=chunk)
    assert stream.finish(scene).WhichOneof("answer") == "stored"


def test_a_whole_ends_what_was_half_sent(server: LoopbackServer) -> None:
    stream, scene = Stream(server), small()
    stream.begin(scene)
    stream.send(chunk=next(convert.chunks_of(scene, 1000)))
    stream.end()
    assert begun(Stream(server), scene).WhichOneof("answer") == "stored"
    assert server.archive.store.partial_bytes(scene.manifest.scene_id) == 0


@pytest.mark.parametrize(
    ("size", "changed", "expected"),
    [
        (CHUNK, {"crc32": 1}, ("REASON_INTEGRITY", True)),
        (CHUNK + 1, {}, ("REASON_PROTOCOL", False)),
        (None, {}, ("REASON_PROTOCOL", False)),
    ],
)
def test_first_bytes_that_are_refused(
    server: LoopbackServer, size: int | None, changed: dict[str, Any], expected: tuple[str, bool]
) -> None:
    stream = Stream(server)
    assert refusal(begun(stream, make_scene(), size, **changed)) == expected
    assert begun(stream, make_scene(), CHUNK).send_from.offset == CHUNK


def test_first_bytes_without_their_crc(server: LoopbackServer) -> None:
    message = convert.begin_to_message(make_scene().manifest, data=make_scene().payload[:CHUNK])
    message.ClearField("crc32")
    stream = Stream(server)
    stream.send(begin=message)
    assert refusal(stream.answer()) == ("REASON_PROTOCOL", False)


def test_more_than_is_declared(server: LoopbackServer) -> None:
    stream, scene = Stream(server), small(size=10)
    assert refusal(begun(stream, scene, data=scene.payload + b"x")) == ("REASON_PROTOCOL", False)


def test_the_last_chunk_finishes_the_scene(server: LoopbackServer) -> None:
    stream, scene = Stream(server), make_scene()
    begun(stream, scene, CHUNK)
    for chunk in convert.chunks_of(scene, CHUNK, CHUNK, is_last_told=True):
        stream.send(chunk=chunk)
    assert stream.answer().WhichOneof("answer") == "stored"
    # A finish behind it is late, as a chunk behind a refusal is.
    stream.send(finish=ingest_pb2.FinishScene(scene_id=bytes.fromhex(scene.manifest.scene_id)))
    assert begun(stream, small()).WhichOneof("answer") == "stored"


def test_a_last_chunk_that_comes_too_early_keeps_what_came(server: LoopbackServer) -> None:
    stream, scene = Stream(server), make_scene()
    stream.begin(scene)
    stream.send(chunk=ingest_pb2.Chunk.FromString(stream.chunks(scene)[0].SerializeToString() + b"\x28\x01"))
    assert refusal(stream.answer()) == ("REASON_PROTOCOL", True)
    assert stream.begin(scene).send_from.offset == CHUNK


def test_chunks_that_do_not_wait_for_the_answer_are_taken_in_order(server: LoopbackServer) -> None:
    stream, scene = Stream(server), make_scene()
    begin(stream, scene, CHUNK)
    for chunk in convert.chunks_of(scene, CHUNK, CHUNK, is_last_told=True):
        stream.send(chunk=chunk)
    assert stream.answer().send_from.offset == CHUNK
    assert stream.answer().WhichOneof("answer") == "stored"


def test_begun_twice_at_once_ends_the_stream_and_loses_nothing(server: LoopbackServer) -> None:
    stream = Stream(server)
    begin(stream, small())
    begin(stream, small())
    assert stream.status() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OK)
    assert begun(Stream(server), small()).stored.was_already_stored


def test_more_than_may_be_under_way(tmp_path: Path) -> None:
    limits = Limits(max_payload_bytes=1 << 20, max_chunk_bytes=CHUNK, max_scenes_in_flight=2)
    with LoopbackServer(tmp_path, make_policy(limits=limits)) as server:
        stream = Stream(server)
        for number in range(2):
            assert begun(stream, make_scene(number), CHUNK).send_from.offset == CHUNK
        assert refusal(begun(stream, small(3))) == ("REASON_TRY_LATER", True)


def test_credit_for_data_in_begins(tmp_path: Path) -> None:
    from server.ingest.config import IngestConfig

    limits = Limits(max_payload_bytes=8 << 20, max_chunk_bytes=1 << 20)
    with LoopbackServer(tmp_path, make_policy(limits=limits), config=IngestConfig(credit_bytes=2 << 20)) as server:
        stream = Stream(server)
        begin(stream, make_scene(size=1 << 20))
        kinds = {next(stream.call).WhichOneof("message") for _ in range(2)}
        assert kinds == {"scene", "credit"}
