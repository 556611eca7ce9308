"""Servers that are slow, silent or in trouble: none holds up other scenes for ever, nor the loop that makes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos import convert
from protos.policy import ServerTerms
from protos.report import VehicleReport
from protos.status import status_of, trailing_metadata
from protos.v1 import ingest_pb2 as pb
from protos.v1 import ingest_pb2_grpc
from shared_models.errors import ServerUnreachableError
from tests.loopback import Hours, fill, make_identity, make_policy, make_scene
from vehicle_client.outbox import Outbox, OutboxConfig
from vehicle_client.uploader import Uploader, UploaderConfig

QUICK = UploaderConfig(first_delay_s=0.001, max_delay_s=0.01)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "spool", OutboxConfig(max_bytes=200_000)) as opened:
        yield opened


class Servicer(ingest_pb2_grpc.IngestServicer):
    """Takes every scene without looking at it; subclasses have their troubles. What came is kept."""

    def __init__(self) -> None:
        self.streams = 0
        self.begun: list[list[str]] = []  # scene ids, by stream
        self.reports: list[VehicleReport] = []
        self.stored: list[str] = []

    def Upload(self, requests: Any, context: Any) -> Iterator[pb.UploadResponse]:  # noqa: N802 - gRPC's name
        self.streams += 1
        self.begun.append([])
        next(requests)
        self.before_welcome(context)
        terms = ServerTerms(protocol_version=1, policy=make_policy())
        yield pb.UploadResponse(welcome=convert.welcome_to_message(terms))
        for request in requests:
            yield from self.answers(request)

    def before_welcome(self, context: Any) -> None:
        """For servers that are in trouble."""

    def answers(self, request: pb.UploadRequest) -> Iterator[pb.UploadResponse]:
        match request.WhichOneof("message"):
            case "begin":
                self.begun[-1].append(request.begin.scene_id.hex())
                yield answer(request.begin.scene_id, send_from=pb.SendFrom(offset=0))
            case "finish":
                self.stored.append(request.finish.scene_id.hex())
                yield answer(request.finish.scene_id, stored=pb.Stored())
            case "report":
                self.reports.append(convert.report_from_message(request.report))


def answer(scene_id: bytes, **given: Any) -> pb.UploadResponse:
    return pb.UploadResponse(scene=pb.SceneAnswer(scene_id=scene_id, **given))


@contextmanager
def serve(servicer: Servicer) -> Iterator[str]:
    """The address of a server that uses it."""
    server = grpc.server(ThreadPoolExecutor(4))
    ingest_pb2_grpc.add_IngestServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def hundredfold_s() -> float:
    """A clock by which a minute passes in 0.6 s."""
    return time.monotonic() * 100.0


class ForgetsOneAnswer(Servicer):
    """Never says where to start with the first scene of its first stream; the stream goes on."""

    def answers(self, request: pb.UploadRequest) -> Iterator[pb.UploadResponse]:
        for response in super().answers(request):
            is_first = request.WhichOneof("message") == "begin" and self.begun == [[request.begin.scene_id.hex()]]
            if not is_first:
                yield response


def test_an_answer_that_never_comes_holds_up_no_other_scene(outbox: Outbox) -> None:
    ids = fill(outbox, 8)
    servicer = ForgetsOneAnswer()
    with serve(servicer) as target:
        sender = Uploader(target, make_identity(), replace(QUICK, answer_s=50.0, stall_s=1e9), hundredfold_s)
        report = sender.run(outbox)
    assert (report.stored, report.streams) == (8, 2)
    assert servicer.stored == [*ids[1:], ids[0]]
    assert servicer.begun[1] == ids[:1]


class StopsReading(Servicer):
    """Answers the first scene and then reads nothing more, with its connection open."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stuck, self.release = threading.Event(), threading.Event()

    def answers(self, request: pb.UploadRequest) -> Iterator[pb.UploadResponse]:
        yield from super().answers(request)
        if self.begun[-1]:
            self.is_stuck.set()
            self.release.wait(60)


def test_a_stuck_server_does_not_stop_the_loop_that_makes_scenes(outbox: Outbox) -> None:
    """Far more is put than any buffer between takes; the outbox drops what does not fit, counted."""
    servicer = StopsReading()
    with serve(servicer) as target:
        with Uploader(target, make_identity(), QUICK).in_background(outbox) as background:
            outbox.put(make_scene(0))
            assert servicer.is_stuck.wait(30)
            for number in range(1, 60):
                assert outbox.put(make_scene(number, size=20_000))
                background.check()
        servicer.release.set()
    counts = outbox.counts()
    assert (counts.pending, counts.evicted, counts.delivered) == (10, 50, 0)


class BusyAtFirst(Servicer):
    """Ends its first streams and says when to come back."""

    def __init__(self, *wishes_ms: int) -> None:
        super().__init__()
        self.wishes_ms = list(wishes_ms)

    def before_welcome(self, context: Any) -> None:
        if self.wishes_ms:
            error = ServerUnreachableError("the server has too much to do")
            status = replace(status_of(error), retry_after_ms=self.wishes_ms.pop(0))
            context.set_trailing_metadata(trailing_metadata(status))
            context.abort(status.grpc, str(error))


def test_the_server_says_when_to_come_back(outbox: Outbox) -> None:
    fill(outbox, 1)
    servicer, hours = BusyAtFirst(7000, 500, 0, 4_000_000_000), Hours()
    with serve(servicer) as target:
        config = UploaderConfig(first_delay_s=1.0, max_delay_s=8.0, give_up_after_s=None)
        report = Uploader(target, make_identity(), config, hours.clock_s, hours.wait, lambda: 0.0).run(outbox)
    assert hours.waits_s == [7.0, 1.0, 2.0, 3600.0]  # its wish, or half of 1, 2, 4, 8 s where that is longer
    assert (report.stored, report.streams) == (1, 5)


def test_the_server_learns_what_was_dropped(outbox: Outbox) -> None:
    fill(outbox, 25)
    servicer = Servicer()
    with serve(servicer) as target:
        Uploader(target, make_identity(), QUICK).run(outbox)
    assert servicer.reports == [
        VehicleReport(pending_scenes=20, pending_bytes=200_000, evicted_scenes=5, evicted_bytes=50_000),
        VehicleReport(evicted_scenes=5, evicted_bytes=50_000, delivered_scenes=20),
    ]


@pytest.mark.parametrize("jump_s", [-1e9, 1e9])
def test_jumps_of_the_wall_clock_change_nothing(outbox: Outbox, monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    """Every look at the wall clock finds another decade."""
    fill(outbox, 6)
    real, looks = time.time, iter(range(1_000_000))
    jumping: Callable[[], float] = lambda: real() + jump_s * (next(looks) % 3)  # noqa: E731
    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
    servicer = BusyAtFirst(1)
    with serve(servicer) as target:
        report = Uploader(target, make_identity(), replace(QUICK, give_up_after_s=60.0)).run(outbox)
    assert (report.stored, report.streams) == (6, 2)
