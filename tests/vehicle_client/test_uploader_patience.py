"""How long an uploader is patient: back-off, and when it gives up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos import convert
from protos.policy import ServerTerms
from protos.v1 import ingest_pb2 as pb
from protos.v1 import ingest_pb2_grpc
from shared_models.errors import ServerUnreachableError
from tests.loopback import Hours, fill, free_port, make_identity, make_policy
from vehicle_client.outbox import Outbox
from vehicle_client.uploader import Uploader, UploaderConfig


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "spool") as opened:
        yield opened


def test_nobody_answers(outbox: Outbox) -> None:
    fill(outbox, 1)
    hours = Hours()
    target = f"127.0.0.1:{free_port()}"
    config = UploaderConfig(first_delay_s=1.0, max_delay_s=8.0, give_up_after_s=30.0)
    lonely = Uploader(target, make_identity(), config, hours.clock_s, hours.wait, random_unit=lambda: 1.0)
    with pytest.raises(ServerUnreachableError, match="without progress"):
        lonely.run(outbox)
    assert hours.waits_s == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert outbox.counts().pending == 1
    with pytest.raises(ServerUnreachableError, match="check that the server runs"):
        lonely.handshake()


def test_half_of_each_delay_is_random(outbox: Outbox) -> None:
    fill(outbox, 1)
    hours, draws = Hours(), iter([0.0, 0.5, 1.0, 0.0, 0.0, 0.0])
    config = UploaderConfig(first_delay_s=1.0, give_up_after_s=5.0)
    target = f"127.0.0.1:{free_port()}"
    with pytest.raises(ServerUnreachableError):
        Uploader(target, make_identity(), config, hours.clock_s, hours.wait, lambda: next(draws)).run(outbox)
    assert hours.waits_s[:3] == [0.5, 1.5, 4.0]


def test_while_scenes_are_made_a_server_may_be_away_for_any_time(outbox: Outbox) -> None:
    fill(outbox, 1)
    hours, is_driving = Hours(), threading.Event()

    def wait(event: threading.Event, delay_s: float) -> None:
        hours.wait(event, delay_s)
        if len(hours.waits_s) == 50:
            is_driving.set()
            sender.drain()  # as `finish` does

    config = UploaderConfig(first_delay_s=1.0, max_delay_s=8.0, give_up_after_s=20.0)
    sender = Uploader(f"127.0.0.1:{free_port()}", make_identity(), config, hours.clock_s, wait, lambda: 1.0)
    with sender.in_background(outbox) as background:
        assert is_driving.wait(30)
        with pytest.raises(ServerUnreachableError, match="gave up after 24 s"):
            background.finish()
    assert hours.waits_s[50:] == [8.0, 8.0, 8.0]
    assert outbox.counts().pending == 1


class WelcomingServicer(ingest_pb2_grpc.IngestServicer):
    """Welcomes every vehicle and ends its stream with OK, whatever waits."""

    def __init__(self) -> None:
        self.streams = 0

    def Upload(self, requests: Any, context: Any) -> Iterator[pb.UploadResponse]:  # noqa: N802 - gRPC's name
        self.streams += 1
        next(requests)
        terms = ServerTerms(protocol_version=1, policy=make_policy())
        yield pb.UploadResponse(welcome=convert.welcome_to_message(terms))


def test_server_that_ends_every_stream_well_but_takes_nothing_is_left_alone(outbox: Outbox) -> None:
    fill(outbox, 1)
    servicer, hours = WelcomingServicer(), Hours()
    server = grpc.server(ThreadPoolExecutor(2))
    ingest_pb2_grpc.add_IngestServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        config = UploaderConfig(first_delay_s=1.0, max_delay_s=8.0, give_up_after_s=20.0)
        sender = Uploader(f"127.0.0.1:{port}", make_identity(), config, hours.clock_s, hours.wait, lambda: 1.0)
        with pytest.raises(ServerUnreachableError, match="ends every stream before it has taken anything"):
            sender.run(outbox)
    finally:
        server.stop(None).wait()
    assert hours.waits_s == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert servicer.streams == 6
    assert outbox.counts().pending == 1


def test_server_that_goes_silent(outbox: Outbox) -> None:
    fill(outbox, 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, never answers
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        config = UploaderConfig(stall_s=0.1, first_delay_s=0.001, give_up_after_s=0.2)
        with pytest.raises(ServerUnreachableError, match="without progress"):
            Uploader(target, make_identity(), config).run(outbox)
    assert outbox.counts().pending == 1
