"""Streams that are too many, too slow, or not read, and what a stopping server tells them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos import convert
from protos.status import RETRY_AFTER_KEY
from protos.v1 import ingest_pb2, ingest_pb2_grpc
from server.ingest.config import IngestConfig
from server.ingest.limits import LimitsConfig
from server.ingest.slow_streams import SlowStreamConfig
from tests.loopback import LoopbackServer, make_identity, make_scene
from tests.server.ingest.stream_driver import CHUNK, Stream, refusal

QUICK = {"check_s": 0.02}
PATIENT_S = 60.0


def serving(data: Path, slow: dict[str, float] | None = None, **limits: Any) -> LoopbackServer:
    settings = SlowStreamConfig(**{**QUICK, **(slow or {})})
    return LoopbackServer(data, config=IngestConfig(limits=LimitsConfig(**limits), slow_streams=settings))


def ended(stream: Stream) -> tuple[str, str]:
    return stream.status().name, stream.reason()


def sample(server: LoopbackServer, name: str, **labels: str) -> float:
    return server.intake.metrics.registry.get_sample_value(name, labels) or 0.0


def begin_and_send_one(stream: Stream, number: int = 0) -> None:
    stream.begin(make_scene(number))
    stream.send(chunk=stream.chunks(make_scene(number))[0])


def test_an_idle_stream_ends_well(tmp_path: Path) -> None:
    with serving(tmp_path, {"idle_s": 0.1}) as server:
        stream = Stream(server)
        assert stream.upload(make_scene()).WhichOneof("answer") == "stored"
        assert stream.status() == grpc.StatusCode.OK
        assert sample(server, "upcycle_streams_ended_total", cause="idle") == 1


@pytest.mark.parametrize(
    ("slow", "cause"),
    [({"stalled_s": 0.2, "idle_s": 0.1}, "stalled"), ({"min_bytes_s": 1e6, "window_s": 0.2, "idle_s": 0.1}, "trickle")],
)
def test_a_slow_stream_ends_and_its_bytes_are_kept(tmp_path: Path, slow: dict[str, float], cause: str) -> None:
    with serving(tmp_path, slow) as server:
        stream = Stream(server)
        begin_and_send_one(stream)
        assert ended(stream) == ("UNAVAILABLE", "REASON_TRY_LATER")
        assert dict(stream.call.trailing_metadata())[RETRY_AFTER_KEY] == "1000"
        assert Stream(server).begin(make_scene()).send_from.offset == CHUNK
        assert sample(server, "upcycle_streams_ended_total", cause=cause) >= 1


def test_a_stream_at_work_is_left_alone(tmp_path: Path) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def check(*_: Any) -> None:
        arrived.set()
        assert go_on.wait(20)

    settings = SlowStreamConfig(**QUICK, idle_s=0.05, stalled_s=0.05)
    with LoopbackServer(tmp_path, check_payload=check, config=IngestConfig(slow_streams=settings)) as server:
        stream, scene = Stream(server), make_scene()
        stream.begin(scene)
        for chunk in stream.chunks(scene):
            stream.send(chunk=chunk)
        stream.send(finish=ingest_pb2.FinishScene(scene_id=bytes.fromhex(scene.manifest.scene_id)))
        assert arrived.wait(20)
        assert not go_on.wait(0.3)  # six times as long as the server is patient
        go_on.set()
        assert stream.answer().WhichOneof("answer") == "stored"


def test_a_newer_stream_takes_the_place_of_the_oldest(tmp_path: Path) -> None:
    with serving(tmp_path, vehicle_streams=2) as server:
        first, second, foreign = Stream(server), Stream(server), Stream(server, make_identity("car-2"))
        begin_and_send_one(first)
        first.begin(make_scene(1))
        third = Stream(server)
        assert ended(first) == ("UNAVAILABLE", "REASON_TRY_LATER")
        assert third.begin(make_scene()).send_from.offset == CHUNK
        for stream in (second, foreign):
            assert stream.end() == grpc.StatusCode.OK


def test_a_stream_that_has_sent_everything_is_answered_though_a_newer_one_takes_its_place(tmp_path: Path) -> None:
    may_finish, is_finishing = threading.Event(), threading.Event()

    def check(*_: Any) -> None:
        is_finishing.set()
        assert may_finish.wait(20)

    config = IngestConfig(limits=LimitsConfig(vehicle_streams=1))
    with LoopbackServer(tmp_path, check_payload=check, config=config) as server:
        first, scene = Stream(server), make_scene()
        first.begin(scene)
        for chunk in first.chunks(scene):
            first.send(chunk=chunk)
        first.send(finish=ingest_pb2.FinishScene(scene_id=bytes.fromhex(scene.manifest.scene_id)))
        first.half_close()
        assert is_finishing.wait(20)
        Stream(server)  # its welcome comes after the older one was told to end
        may_finish.set()
        assert first.answer().WhichOneof("answer") == "stored"
        assert first.status() == grpc.StatusCode.OK


def test_no_more_streams_than_the_server_takes(tmp_path: Path) -> None:
    with serving(tmp_path, streams=2) as server:
        streams = [Stream(server, make_identity(f"car-{number}")) for number in range(2)]
        late = Stream(server, make_identity("car-3"), hello=False)
        assert ended(late) == ("UNAVAILABLE", "REASON_TRY_LATER")
        assert dict(late.call.trailing_metadata())[RETRY_AFTER_KEY] == "5000"
        assert sample(server, "upcycle_open_streams") == 2
        streams[0].end()
        assert Stream(server, make_identity("car-3")).welcome.protocol_version == 1


def test_no_more_calls_than_the_server_takes(tmp_path: Path) -> None:
    with serving(tmp_path, calls=1) as server:
        stream = Stream(server)
        with pytest.raises(grpc.RpcError) as caught:
            server.ingest().Handshake(convert.hello_to_message(make_identity()), timeout=20)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stream.upload(make_scene()).WhichOneof("answer") == "stored"


def test_a_vehicle_that_reads_no_answers_holds_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Refusals pile up until gRPC's window is full; then the server waits `write_s` and lets go."""
    with serving(tmp_path, {"write_s": PATIENT_S}) as server:
        stream = Stream(server)
        begin_and_send_one(stream)
        set_write_s(server, 0.3)  # only while nobody else is answered: on a busy machine any answer may take as long
        options = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]  # the window stays at 64 KiB
        channel = grpc.insecure_channel(server.target, options=options)
        call = ingest_pb2_grpc.IngestStub(channel).Upload(refused_for_ever(), timeout=10 * PATIENT_S)
        wait_until(lambda: sample(server, "upcycle_streams_ended_total", cause="unread") >= 1)
        wait_until(lambda: sample(server, "upcycle_open_streams") == 1)
        set_write_s(server, PATIENT_S)
        channel.close()
        assert call.code() == grpc.StatusCode.CANCELLED  # by closing the channel: gRPC cannot tell it any status
        assert refusal(stream.finish(make_scene())) == ("REASON_PROTOCOL", True)  # the other one never noticed
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def set_write_s(server: LoopbackServer, seconds: float) -> None:
    """Change a setting of a running server, which is asked for at each answer."""
    object.__setattr__(server.intake.config.slow_streams, "write_s", seconds)


def wait_until(is_so: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENT_S / 0.05)):
        if is_so():
            return
        pause.wait(0.05)
    raise AssertionError(f"not so after {PATIENT_S} s")


def refused_for_ever() -> Iterator[ingest_pb2.UploadRequest]:
    """Each message is answered with a long refusal."""
    yield ingest_pb2.UploadRequest(hello=convert.hello_to_message(make_identity("deaf")))
    refused = convert.begin_to_message(make_scene(vehicle="deaf", codec="x" * 200).manifest)
    while True:
        yield ingest_pb2.UploadRequest(begin=refused)


def test_a_stopping_server_finishes_what_is_open_and_begins_nothing(tmp_path: Path) -> None:
    scene = make_scene()
    with serving(tmp_path) as server:
        busy, idle = Stream(server), Stream(server, make_identity("car-2"))
        begin_and_send_one(busy)
        stopping = threading.Thread(target=server.stop, args=(20.0,))
        # The driver's own channels are closed by stop(); the server's part is what is looked at here.
        server._channels.clear()
        stopping.start()
        assert ended(idle) == ("UNAVAILABLE", "REASON_TRY_LATER")
        assert refusal(busy.begin(make_scene(1))) == ("REASON_TRY_LATER", True)
        for chunk in busy.chunks(scene, CHUNK):
            busy.send(chunk=chunk)
        assert busy.finish(scene).WhichOneof("answer") == "stored"
        assert ended(busy) == ("UNAVAILABLE", "REASON_TRY_LATER")
        stopping.join(20)
        assert not stopping.is_alive()
