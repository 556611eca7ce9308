"""An uploader beside a loop that makes scenes, against real servers on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared_models.errors import BackboneMismatchError, UpcycleError
from tests.loopback import OTHER_BACKBONE, LoopbackServer, fill, free_port, make_identity, make_scene
from vehicle_client.outbox import Outbox
from vehicle_client.uploader import Uploader, UploaderConfig

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


def wait_until(is_done: Any, limit_s: float = 30.0) -> None:
    pause = threading.Event()
    for _ in range(int(limit_s / 0.002)):
        if is_done():
            return
        pause.wait(0.002)
    raise AssertionError("nothing happened in time")


def test_scenes_put_while_sending(server: LoopbackServer, outbox: Outbox) -> None:
    with uploader(server.target).in_background(outbox) as background:
        ids = fill(outbox, 5)
        wait_until(lambda: outbox.counts().delivered == 5)
        for number in range(5, 10):
            outbox.put(make_scene(number))
            background.check()
        report = background.finish()
    assert report.stored == 10
    assert len(set(stored_ids(server)) - set(ids)) == 5


def test_leaving_without_finish_keeps_what_is_left(outbox: Outbox) -> None:
    fill(outbox, 2)
    with uploader(f"127.0.0.1:{free_port()}").in_background(outbox) as background:
        background.check()
    assert outbox.counts().pending == 2


def test_idle_uploader_needs_no_server(tmp_path: Path, outbox: Outbox) -> None:
    port = free_port()
    with uploader(f"127.0.0.1:{port}", UploaderConfig(give_up_after_s=0.0)).in_background(outbox) as background:
        with LoopbackServer(tmp_path / "data", port=port):
            fill(outbox, 1)
            assert background.finish().stored == 1
        background.check()


def test_sending_thread_that_dies_is_noticed(
    server: LoopbackServer, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(outbox, 1)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(outbox, "subscribe", None)
    with (
        uploader(server.target).in_background(outbox) as background,
        pytest.raises(UpcycleError, match="ended unexpectedly"),
    ):
        background.finish()


def test_background_error_is_raised_by_check_and_finish(server: LoopbackServer, outbox: Outbox) -> None:
    fill(outbox, 1)
    with uploader(server.target, backbone_hash=OTHER_BACKBONE).in_background(outbox) as background:
        with pytest.raises(BackboneMismatchError):
            background.finish()
        with pytest.raises(BackboneMismatchError):
            background.check()
