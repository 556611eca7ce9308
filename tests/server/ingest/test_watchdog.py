"""Health follows disk and catalogue, and a disk that is nearly full takes no new scenes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.ingest.config import IngestConfig
from server.ingest.metrics import IngestMetrics
from server.ingest.watchdog import Watchdog, WatchdogConfig
from server.repositories.archive import SceneArchive
from server.repositories.memory import MemorySceneCatalogue
from server.repositories.repository import SceneCatalogue, StoredScene
from server.stores.files import FilePayloadStore
from server.stores.memory import MemoryPayloadStore
from server.stores.store import PartialPayload, PayloadStore
from shared_models.errors import InvalidValueError, StorageError, StorageFullError
from tests.loopback import LoopbackServer, make_scene
from tests.server.ingest.stream_driver import Stream, refusal


class LostCatalogue(MemorySceneCatalogue):
    """Does not answer while `is_lost`."""

    is_lost = False

    def find(self, scene_ids: Iterable[str]) -> dict[str, StoredScene]:
        if self.is_lost:
            raise StorageError("the database is gone")
        return super().find(scene_ids)


class ReadOnlyStore(MemoryPayloadStore):
    def open_partial(self, key: str) -> PartialPayload:
        raise StorageError("read-only file system")


def make(
    store: PayloadStore, catalogue: SceneCatalogue, folder: Path | None = None, **config: float
) -> tuple[Watchdog, IngestMetrics]:
    metrics = IngestMetrics()
    return Watchdog(WatchdogConfig(**config), store, catalogue, metrics, folder), metrics  # type: ignore[arg-type]


def test_a_sound_server_leaves_no_probe(tmp_path: Path) -> None:
    watchdog, metrics = make(FilePayloadStore(tmp_path), MemorySceneCatalogue(), tmp_path)
    watchdog.check()
    assert not list((tmp_path / "partial").iterdir())
    assert metrics.registry.get_sample_value("upcycle_catalogue_seconds_count") == 1
    assert (metrics.registry.get_sample_value("upcycle_disk_free_bytes") or 0) > 0


def test_too_little_space_stops_new_scenes_until_there_is_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watchdog, _ = make(FilePayloadStore(tmp_path), MemorySceneCatalogue(), tmp_path, min_free_bytes=100)
    space = {"free": 99}
    usage = type("Usage", (), {"free": property(lambda _: space["free"])})
    monkeypatch.setattr("server.ingest.watchdog.shutil.disk_usage", lambda _: usage())
    with pytest.raises(StorageFullError, match="99 bytes"):
        watchdog.check()
    with pytest.raises(StorageFullError):
        watchdog.check_space()
    space["free"] = 100
    watchdog.check()
    watchdog.check_space()


@pytest.mark.parametrize("lost", ["catalogue", "store", "folder"])
def test_what_can_be_lost(tmp_path: Path, lost: str) -> None:
    catalogue, store = LostCatalogue(), ReadOnlyStore() if lost == "store" else MemoryPayloadStore()
    catalogue.is_lost = lost == "catalogue"
    watchdog, _ = make(store, catalogue, tmp_path / "gone" if lost == "folder" else None)
    with pytest.raises(StorageError):
        watchdog.check()


def test_changes_are_told_once() -> None:
    async def run() -> None:
        catalogue, told = LostCatalogue(), list[bool]()
        watchdog, _ = make(MemoryPayloadStore(), catalogue, check_s=7.0)
        states = [True, True, False, False, True]
        pauses: list[float] = []

        async def next_state(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == len(states):
                raise asyncio.CancelledError
            catalogue.is_lost = not states[len(pauses)]

        async def tell(is_healthy: bool) -> None:
            told.append(is_healthy)

        with pytest.raises(asyncio.CancelledError):
            await watchdog.watch(asyncio.to_thread, tell, next_state)
        assert told == [True, False, True]
        assert pauses == [7.0] * 5

    asyncio.run(run())


def test_a_check_that_hangs_counts_as_failed_and_is_not_started_twice() -> None:
    async def run() -> None:
        watchdog, _ = make(MemoryPayloadStore(), MemorySceneCatalogue(), slow_s=0.01)
        started, told, hanging = list[int](), list[bool](), asyncio.Event()

        async def in_thread(check: Callable[[], None]) -> None:
            started.append(1)
            await hanging.wait()

        async def tell(is_healthy: bool) -> None:
            told.append(is_healthy)

        rounds = list[float]()

        async def sleep(seconds: float) -> None:
            rounds.append(seconds)
            if len(rounds) == 3:
                hanging.set()
            if len(rounds) == 4:
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await watchdog.watch(in_thread, tell, sleep)
        assert (told, len(started)) == ([False, True], 1)

    asyncio.run(run())


def test_health_goes_and_comes_back_without_a_restart(tmp_path: Path) -> None:
    catalogue = LostCatalogue()

    def change(archive: SceneArchive) -> SceneArchive:
        archive.catalogue.close()
        return SceneArchive(catalogue=catalogue, store=archive.store)

    config = IngestConfig(watchdog=WatchdogConfig(check_s=0.02))
    with LoopbackServer(tmp_path, change=change, config=config) as server:
        stub = health_pb2_grpc.HealthStub(server.channel())
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="upcycle.v1.Ingest"), timeout=20)
        stream = Stream(server)
        seen = [next(watch).status]
        assert stream.upload(make_scene(0)).WhichOneof("answer") == "stored"
        catalogue.is_lost = True
        seen.append(next(watch).status)
        assert refusal(stream.begin(make_scene(1))) == ("REASON_STORAGE", True)
        delivery = stub.Check(health_pb2.HealthCheckRequest(service="upcycle.v1.Delivery"), timeout=20)
        assert delivery.status == health_pb2.HealthCheckResponse.SERVING
        catalogue.is_lost = False
        seen.append(next(watch).status)
        assert [health_pb2.HealthCheckResponse.ServingStatus.Name(s) for s in seen] == [
            "SERVING", "NOT_SERVING", "SERVING"
        ]  # fmt: skip
        assert stream.upload(make_scene(1)).WhichOneof("answer") == "stored"
        watch.cancel()
        assert server.intake.metrics.registry.get_sample_value("upcycle_is_serving") == 1


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(InvalidValueError, match="WatchdogConfig"):
        WatchdogConfig(check_s=0.0)
