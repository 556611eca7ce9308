"""The uploader against real servers on loopback: nothing lost, nothing sent twice without need, clear refusals."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protos.policy import ServerTerms
from server.repositories.archive import SceneArchive
from server.stores.memory import MemoryPayloadStore
from server.stores.store import PartialPayload
from shared_models.errors import (
    BackboneMismatchError,
    CodecRefusedError,
    IntegrityError,
    PayloadError,
    PayloadTooLargeError,
    ServerUnreachableError,
    StorageError,
    StorageFullError,
    VersionError,
)
from shared_models.records import SceneManifest
from tests.loopback import (
    OTHER_BACKBONE,
    Hours,
    LoopbackServer,
    fill,
    free_port,
    make_identity,
    make_policy,
    make_scene,
)
from vehicle_client.outbox import Outbox
from vehicle_client.uploader import Uploader, UploaderConfig, UploadReport

QUICK = UploaderConfig(first_delay_s=0.001, max_delay_s=0.01)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "spool") as opened:
        yield opened


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LoopbackServer]:
    with LoopbackServer(tmp_path / "data") as running:
        yield running


def stored_ids(server: LoopbackServer) -> list[str]:
    return sorted(stored.scene_id for stored in server.archive.catalogue.scenes())


def uploader(target: str, config: UploaderConfig = QUICK, **changed: Any) -> Uploader:
    return Uploader(target, make_identity(**changed), config)


def test_all_scenes_arrive(server: LoopbackServer, outbox: Outbox) -> None:
    ids = fill(outbox, 12)
    report = uploader(server.target).run(outbox)
    assert report == UploadReport(stored=12, already_stored=0, refusals=(), payload_bytes=120_000, chunks=36, streams=1)
    assert stored_ids(server) == sorted(ids)
    assert (outbox.counts().pending, outbox.counts().delivered) == (0, 12)


def test_empty_outbox_needs_no_server(outbox: Outbox) -> None:
    assert uploader("127.0.0.1:1").run(outbox).streams == 0


def test_second_run_sends_no_payload(server: LoopbackServer, outbox: Outbox) -> None:
    fill(outbox, 3)
    uploader(server.target).run(outbox)
    fill(outbox, 3)
    report = uploader(server.target).run(outbox)
    assert (report.stored, report.already_stored, report.payload_bytes) == (0, 3, 0)


def test_handshake_gives_the_terms(server: LoopbackServer) -> None:
    terms = uploader(server.target).handshake()
    assert isinstance(terms, ServerTerms)
    assert terms.policy == make_policy()


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"backbone_hash": OTHER_BACKBONE}, BackboneMismatchError),
        ({"codecs": ("int2",)}, CodecRefusedError),
        ({"protocol_versions": (99,)}, VersionError),
    ],
)
def test_vehicle_that_does_not_fit(
    server: LoopbackServer, outbox: Outbox, changed: dict[str, Any], error: type[Exception]
) -> None:
    fill(outbox, 2)
    with pytest.raises(error):
        uploader(server.target, **changed).handshake()
    with pytest.raises(error):
        uploader(server.target, **changed).run(outbox)
    assert outbox.counts().pending == 2


def test_refused_scenes_are_named_and_block_nobody(server: LoopbackServer, outbox: Outbox) -> None:
    outbox.put(make_scene(0, codec="int4"))
    outbox.put(make_scene(1, backbone_hash=OTHER_BACKBONE))
    outbox.put(make_scene(2, size=(1 << 20) + 1))
    outbox.put(make_scene(3))
    report = uploader(server.target).run(outbox)
    assert report.stored == 1
    assert {r.frame_id: type(r.error) for r in report.refusals} == {
        "000000": CodecRefusedError,
        "000001": BackboneMismatchError,
        "000002": PayloadTooLargeError,
    }
    assert report.refused == 3
    assert [letter.payload is not None for letter in outbox.dead_letters()] == [True] * 3
    assert (outbox.counts().pending, outbox.counts().dead) == (0, 3)


def test_damaged_scene_in_the_outbox_is_given_up(server: LoopbackServer, outbox: Outbox) -> None:
    ids = fill(outbox, 3)
    (outbox.directory / "payloads" / ids[1]).write_bytes(b"damaged")
    report = uploader(server.target).run(outbox)
    assert report.stored == 2
    assert [(r.scene_id, type(r.error)) for r in report.refusals] == [(ids[1], IntegrityError)]


def test_scene_that_never_arrives_whole_is_given_up(tmp_path: Path, outbox: Outbox) -> None:
    def check(manifest: SceneManifest, payload: bytes) -> None:
        if manifest.frame_id == "000001":
            raise IntegrityError("damaged on the way, again")

    fill(outbox, 3)
    with LoopbackServer(tmp_path / "data", check_payload=check) as server:
        report = uploader(server.target).run(outbox)
    assert report.stored == 2
    assert [type(refusal.error) for refusal in report.refusals] == [IntegrityError]
    assert report.chunks == 2 * 3 + QUICK.max_attempts * 3


def test_payload_refused_by_its_header(tmp_path: Path, outbox: Outbox) -> None:
    from server.ingest.header import HeaderCheck

    fill(outbox, 1)
    with LoopbackServer(tmp_path / "data", check_payload=HeaderCheck(make_policy())) as server:
        report = uploader(server.target).run(outbox)
    assert [type(refusal.error) for refusal in report.refusals] == [PayloadError]


class TroubledStore(MemoryPayloadStore):
    """Fails `troubles` times before it works; the server's own look at its disk does not count."""

    troubles = 0
    error: type[StorageError] | type[StorageFullError] = StorageFullError

    def open_partial(self, key: str) -> PartialPayload:
        if self.troubles and key.strip("0"):
            self.troubles -= 1
            raise self.error("no space left")
        return super().open_partial(key)


def test_full_server_disk_is_waited_for(tmp_path: Path, outbox: Outbox) -> None:
    store, hours = TroubledStore(), Hours()
    store.troubles = 3
    ids = fill(outbox, 6)
    config = UploaderConfig(max_in_flight=1, give_up_after_s=600.0)
    with LoopbackServer(
        tmp_path / "data", change=lambda archive: SceneArchive(catalogue=archive.catalogue, store=store)
    ) as server:
        report = Uploader(server.target, make_identity(), config, hours.clock_s, hours.wait).run(outbox)
        assert stored_ids(server) == sorted(ids)
    assert (report.stored, report.refusals) == (6, ())
    assert hours.waits_s == [30.0, 30.0, 30.0]


def test_server_disk_that_stays_full(tmp_path: Path, outbox: Outbox) -> None:
    store, hours = TroubledStore(), Hours()
    store.troubles = 1_000_000
    fill(outbox, 2)
    config = UploaderConfig(give_up_after_s=100.0)
    with (
        LoopbackServer(
            tmp_path / "data", change=lambda archive: SceneArchive(catalogue=archive.catalogue, store=store)
        ) as server,
        pytest.raises(ServerUnreachableError, match="no space left"),
    ):
        Uploader(server.target, make_identity(), config, hours.clock_s, hours.wait).run(outbox)
    assert outbox.counts().pending == 2


def test_server_that_is_killed_and_comes_back(tmp_path: Path, outbox: Outbox) -> None:
    ids = fill(outbox, 40)
    port = free_port()
    sender = uploader(f"127.0.0.1:{port}", UploaderConfig(first_delay_s=0.001, max_delay_s=0.01))
    delivered = outbox.counts().delivered
    with sender.in_background(outbox) as background:
        for _ in range(4):
            with LoopbackServer(tmp_path / "data", port=port) as server:
                wait_until(lambda before=delivered: outbox.counts().delivered > before)
                server.kill()
            delivered = outbox.counts().delivered
        with LoopbackServer(tmp_path / "data", port=port) as server:
            report = background.finish()
            assert stored_ids(server) == sorted(ids)
            for stored in server.archive.catalogue.scenes():
                server.archive.encoded(stored)
    assert report.stored + report.already_stored == 40
    assert report.refusals == ()
    assert outbox.counts().pending == 0


def wait_until(is_done: Any, limit_s: float = 30.0) -> None:
    pause = threading.Event()
    for _ in range(int(limit_s / 0.002)):
        if is_done():
            return
        pause.wait(0.002)
    raise AssertionError("nothing happened in time")


def test_two_vehicles_at_once(server: LoopbackServer, tmp_path: Path) -> None:
    with Outbox(tmp_path / "one") as one, Outbox(tmp_path / "two") as two:
        ids = fill(one, 10, vehicle="car-1") + fill(two, 10, vehicle="car-2")
        with (
            uploader(server.target, vehicle="car-1").in_background(one) as first,
            uploader(server.target, vehicle="car-2").in_background(two) as second,
        ):
            assert first.finish().stored == 10
            assert second.finish().stored == 10
    assert stored_ids(server) == sorted(ids)


def test_something_else_on_the_port(outbox: Outbox) -> None:
    def answer(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    fill(outbox, 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,), daemon=True)
        thread.start()
        with pytest.raises(ServerUnreachableError, match="check that the server runs"):
            uploader(f"127.0.0.1:{listener.getsockname()[1]}").handshake()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
