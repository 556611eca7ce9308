"""A database or disk that is lost for a while: nothing acknowledged is lost, and all arrives without a restart."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.ingest.config import IngestConfig
from server.ingest.watchdog import WatchdogConfig
from server.repositories.archive import SceneArchive, open_archive
from server.repositories.memory import MemorySceneCatalogue
from server.repositories.repository import StoredScene
from server.stores.memory import MemoryPayloadStore
from server.stores.store import PartialPayload
from shared_models.errors import StorageError
from tests.loopback import LoopbackServer, fill, make_identity
from vehicle_client.outbox import Outbox
from vehicle_client.uploader import Uploader, UploaderConfig

SCENES = 12


class LossyCatalogue(MemorySceneCatalogue):
    """Lost from the `lost_at`-th row on, for as many calls as `calls_lost`; every second row is in all the same."""

    def __init__(self, lost_at: int, calls_lost: int) -> None:
        super().__init__()
        self._rows, self._lost_at, self.calls_lost = 0, lost_at, calls_lost

    def _answer(self) -> None:
        if self._rows >= self._lost_at and self.calls_lost:
            self.calls_lost -= 1
            raise StorageError("the database is gone")

    def add(self, *arguments: Any, **named: Any) -> StoredScene:
        self._rows += 1
        if self.calls_lost % 2:
            super().add(*arguments, **named)
        self._answer()
        return super().add(*arguments, **named)

    def find(self, scene_ids: Iterable[str]) -> dict[str, StoredScene]:
        self._answer()
        return super().find(scene_ids)

    def has_payload(self, payload_sha256: str) -> bool:
        self._answer()
        return super().has_payload(payload_sha256)


class LossyStore(MemoryPayloadStore):
    """Does not open the payloads number 5 to 9."""

    opened = 0

    def open_partial(self, key: str) -> PartialPayload:
        self.opened += 1
        if 5 <= self.opened < 10:
            raise StorageError("input/output error")
        return super().open_partial(key)


def impatient(server: LoopbackServer) -> Uploader:
    """An uploader that waits hundredths of the seconds that it is told."""
    config = UploaderConfig(first_delay_s=0.01, max_delay_s=0.05)
    return Uploader(server.target, make_identity(), config, wait=lambda event, s: threading.Event.wait(event, s / 100))


def acknowledged_in(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    acknowledged: list[str] = []
    mark_delivered = outbox.mark_delivered

    def note(scene_id: str) -> bool:
        acknowledged.append(scene_id)
        return mark_delivered(scene_id)

    monkeypatch.setattr(outbox, "mark_delivered", note)
    return acknowledged


@pytest.mark.parametrize("lost", ["catalogue", "store"])
def test_lost_for_a_while(tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = LossyCatalogue(lost_at=4, calls_lost=9) if lost == "catalogue" else MemorySceneCatalogue()
    store = LossyStore() if lost == "store" else MemoryPayloadStore()

    def change(archive: SceneArchive) -> SceneArchive:
        archive.close()
        return SceneArchive(catalogue=catalogue, store=store)

    with LoopbackServer(tmp_path / "data", change=change) as server, Outbox(tmp_path / "spool") as outbox:
        ids = fill(outbox, SCENES)
        acknowledged = acknowledged_in(outbox, monkeypatch)
        report = impatient(server).run(outbox)
        failed = server.intake.metrics.registry.get_sample_value(
            "upcycle_store_errors_total", {"reason": "REASON_STORAGE"}
        )
        assert failed
        assert report.refusals == ()
        assert sorted(acknowledged) == sorted(ids)
        assert sorted(each.scene_id for each in catalogue.scenes()) == sorted(ids)
        assert all(server.archive.encoded(each).payload for each in catalogue.scenes())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True).returncode != 0:
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_and_is_cleared(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3 << 20))
    config = IngestConfig(watchdog=WatchdogConfig(check_s=0.05, min_free_bytes=0))
    with (
        LoopbackServer(small_disk / "data", config=config) as server,
        Outbox(tmp_path / "spool") as outbox,
    ):
        ids = fill(outbox, SCENES, size=200_000)
        acknowledged = acknowledged_in(outbox, monkeypatch)
        with impatient(server).in_background(outbox) as background:
            metrics, waiting = server.intake.metrics.registry, threading.Event()
            full = {"reason": "REASON_STORAGE_FULL"}
            for _ in range(400):
                if (metrics.get_sample_value("upcycle_store_errors_total", full) or 0) >= 3:
                    break
                waiting.wait(0.05)
            stored_then = {each.scene_id for each in server.archive.catalogue.scenes()}
            assert set(acknowledged) <= stored_then
            assert len(stored_then) < SCENES
            ballast.unlink()
            background.finish()
        assert sorted(acknowledged) == sorted(ids)
    archive = open_archive(small_disk / "data")
    assert sorted(each.scene_id for each in archive.catalogue.scenes()) == sorted(ids)
    for each in archive.catalogue.scenes():
        assert len(archive.encoded(each).payload) == 200_000
    archive.close()
