"""The intake without a network: what it keeps when the catalogue is full, and its bounds on half-sent payloads."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.ingest.config import IngestConfig
from server.ingest.intake import Intake
from server.ingest.open_scene import OpenScene
from server.repositories.memory import MemorySceneCatalogue
from server.repositories.repository import StoredScene
from server.stores.files import FilePayloadStore
from shared_models.errors import (
    InvalidValueError,
    ProtocolError,
    ServerUnreachableError,
    StorageError,
    StorageFullError,
)
from shared_models.records import EncodedScene
from tests.loopback import accept_any_payload, make_policy, make_scene

NOW_S = 1_700_000_000.0


class TroubledCatalogue(MemorySceneCatalogue):
    """Raises `failure` where there is one, before or after the row is in."""

    failure: Exception | None = None
    is_row_kept = False

    def add(self, *given: Any, **named: Any) -> StoredScene:
        if self.failure is None or self.is_row_kept:
            added = super().add(*given, **named)
        if self.failure is not None:
            raise self.failure
        return added

    def has_payload(self, payload_sha256: str) -> bool:
        if isinstance(self.failure, StorageError):
            self.failure = None
            raise StorageError("the database is gone")
        return super().has_payload(payload_sha256)


@pytest.fixture
def store(tmp_path: Path) -> FilePayloadStore:
    return FilePayloadStore(tmp_path)


def make_intake(store: FilePayloadStore, catalogue: MemorySceneCatalogue | None = None, **config: Any) -> Intake:
    return Intake(
        make_policy(),
        store,
        catalogue or MemorySceneCatalogue(),
        IngestConfig(**config),
        check_payload=accept_any_payload,
        clock_ns=lambda: int(NOW_S * 1e9),
    )


async def begin(intake: Intake, scene: EncodedScene) -> OpenScene:
    begun = await intake.begin(scene.manifest)
    assert isinstance(begun, OpenScene)
    return begun


async def upload(intake: Intake, scene: EncodedScene) -> StoredScene:
    begun = await begin(intake, scene)
    await intake.add_chunk(begun, begun.held().size, scene.payload)
    return await intake.finish(begun)


async def half_send(intake: Intake, store: FilePayloadStore, scene: EncodedScene, age_s: float) -> None:
    begun = await begin(intake, scene)
    await intake.add_chunk(begun, 0, scene.payload[:100])
    await intake.release(begun)
    os.utime(store.root / "partial" / scene.manifest.scene_id, (NOW_S - age_s,) * 2)


def held(store: FilePayloadStore) -> set[str]:
    return {path.name for path in (store.root / "partial").iterdir()}


def test_full_catalogue_leaves_no_payload(store: FilePayloadStore) -> None:
    catalogue, scene = TroubledCatalogue(), make_scene()
    intake = make_intake(store, catalogue)
    catalogue.failure = StorageFullError("no space")
    with pytest.raises(StorageFullError):
        asyncio.run(upload(intake, scene))
    assert not store.names()
    catalogue.failure = None
    asyncio.run(upload(intake, scene))
    assert store.read(scene.manifest.payload_sha256) == scene.payload


def test_payload_of_another_scene_stays_when_the_catalogue_is_full(store: FilePayloadStore) -> None:
    catalogue, first = TroubledCatalogue(), make_scene()
    second = EncodedScene(manifest=replace(first.manifest, frame_id="other"), payload=first.payload)
    intake = make_intake(store, catalogue)
    asyncio.run(upload(intake, first))
    catalogue.failure = StorageFullError("no space")
    with pytest.raises(StorageFullError):
        asyncio.run(upload(intake, second))
    assert store.read(first.manifest.payload_sha256) == first.payload


def test_payload_that_another_scene_is_placing_stays(store: FilePayloadStore) -> None:
    """The other scene has committed the payload and has no row yet."""
    catalogue, scene = TroubledCatalogue(), make_scene()
    intake = make_intake(store, catalogue)
    catalogue.failure = StorageFullError("no space")
    with intake._completion.placing.of(scene.manifest.payload_sha256), pytest.raises(StorageFullError):
        asyncio.run(upload(intake, scene))
    assert store.has(scene.manifest.payload_sha256)


@pytest.mark.parametrize("is_row_kept", [True, False])
def test_payload_stays_while_nobody_knows_of_its_row(store: FilePayloadStore, is_row_kept: bool) -> None:
    catalogue, scene = TroubledCatalogue(), make_scene()
    catalogue.failure, catalogue.is_row_kept = StorageError("timed out"), is_row_kept
    with pytest.raises(StorageError, match="timed out"):
        asyncio.run(upload(make_intake(store, catalogue), scene))
    assert store.has(scene.manifest.payload_sha256)


@pytest.mark.parametrize("is_row_kept", [True, False])
def test_payload_of_an_unknown_row_is_looked_at_again(store: FilePayloadStore, is_row_kept: bool) -> None:
    catalogue, scene = TroubledCatalogue(), make_scene()
    catalogue.failure, catalogue.is_row_kept = StorageError("timed out"), is_row_kept
    intake = make_intake(store, catalogue)
    with pytest.raises(StorageError, match="timed out"):
        asyncio.run(upload(intake, scene))
    placing = intake._completion.placing
    catalogue.failure = StorageError("still away")
    assert (placing.remove_left(), store.has(scene.manifest.payload_sha256)) == (0, True)
    with placing.of(scene.manifest.payload_sha256):
        assert (placing.remove_left(), store.has(scene.manifest.payload_sha256)) == (0, True)
    assert placing.remove_left() == (0 if is_row_kept else 1)
    assert store.has(scene.manifest.payload_sha256) == is_row_kept
    assert placing.remove_left() == 0


def test_last_chunk_is_written_with_the_finish_or_a_moment_later(store: FilePayloadStore) -> None:
    async def run() -> None:
        intake, scene = make_intake(store), make_scene()
        begun = await begin(intake, scene)
        await intake.add_chunk(begun, 0, scene.payload)
        assert store.partial_bytes(scene.manifest.scene_id) == 0
        while not store.partial_bytes(scene.manifest.scene_id):  # no finish comes
            await asyncio.sleep(0)
        with pytest.raises(ProtocolError, match=f"expected the one at {len(scene.payload)}"):
            await intake.add_chunk(begun, 0, scene.payload)
        await intake.finish(begun)
        assert store.read(scene.manifest.payload_sha256) == scene.payload

    asyncio.run(run())


def test_last_chunk_that_is_not_written_is_kept_for_the_next_stream(store: FilePayloadStore) -> None:
    async def run() -> None:
        intake, scene = make_intake(store), make_scene()
        begun = await begin(intake, scene)
        await intake.add_chunk(begun, 0, scene.payload[:100])
        await intake.add_chunk(begun, 100, scene.payload[100:])
        await intake.release(begun)
        again = await begin(intake, scene)
        assert again.held().size == len(scene.payload)
        other = await begin(intake, scene)  # takes it over
        assert other.held().size == len(scene.payload)
        await intake.finish(other)
        assert store.read(scene.manifest.payload_sha256) == scene.payload

    asyncio.run(run())


def test_full_disk_when_the_last_chunk_is_written(store: FilePayloadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    async def run() -> None:
        intake, scene = make_intake(store), make_scene()
        for is_finished in (True, False):
            begun = await begin(intake, scene)
            await intake.add_chunk(begun, 0, scene.payload)
            monkeypatch.setattr("server.stores.files.os.write", fail)
            if is_finished:
                with pytest.raises(StorageFullError):
                    await intake.finish(begun)
            else:
                await intake.release(begun)
            monkeypatch.undo()
            assert held(store) == set()
        await upload(intake, scene)
        assert store.read(scene.manifest.payload_sha256) == scene.payload

    asyncio.run(run())


def test_expired_partials_are_dropped_while_running(store: FilePayloadStore) -> None:
    async def run() -> None:
        intake = make_intake(store, partial_expiry_s=3600.0, partial_check_s=7.0)
        old, young, in_use = (make_scene(number) for number in range(3))
        for scene, age_s in ((old, 4000.0), (young, 3000.0), (in_use, 4000.0)):
            await half_send(intake, store, scene, age_s)
        resumed = await begin(intake, in_use)
        pauses: list[float] = []

        async def stop_after_two(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 1:
                assert held(store) == {young.manifest.scene_id, in_use.manifest.scene_id}
                os.utime(store.root / "partial" / young.manifest.scene_id, (NOW_S - 4000.0,) * 2)
            else:
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await intake.sweep_regularly(stop_after_two)
        assert pauses == [7.0, 7.0]
        assert held(store) == {in_use.manifest.scene_id}
        await intake.add_chunk(resumed, 100, in_use.payload[100:])
        await intake.finish(resumed)
        assert store.read(in_use.manifest.payload_sha256) == in_use.payload

    asyncio.run(run())


@pytest.mark.parametrize("limit", [{"partial_count": 3}, {"partial_bytes": 300}], ids=["count", "bytes"])
def test_oldest_partials_make_room(store: FilePayloadStore, limit: dict[str, int]) -> None:
    async def run() -> None:
        intake = make_intake(store, **limit)
        scenes = [make_scene(number) for number in range(8)]
        for number, scene in enumerate(scenes):
            await half_send(intake, store, scene, age_s=1000.0 - number)
        assert await intake.sweep() == 1  # the limit may be exceeded by what came since
        assert held(store) == {scene.manifest.scene_id for scene in scenes[-3:]}

    asyncio.run(run())


@pytest.mark.parametrize("limit", [{"partial_count": 2}, {"partial_bytes": 25_000}], ids=["count", "bytes"])
def test_open_scenes_beyond_the_limit_have_to_wait(store: FilePayloadStore, limit: dict[str, int]) -> None:
    async def run() -> None:
        intake = make_intake(store, **limit)
        first, _ = await begin(intake, make_scene(0)), await begin(intake, make_scene(1))
        with pytest.raises(ServerUnreachableError, match="try again later"):
            await begin(intake, make_scene(2))
        await begin(intake, make_scene(1))  # taken over by another stream: no scene more than before
        await intake.release(first)
        await begin(intake, make_scene(2))

    asyncio.run(run())


def test_one_scene_larger_than_the_limit_is_let_in(store: FilePayloadStore) -> None:
    scene = make_scene()
    asyncio.run(upload(make_intake(store, partial_bytes=1, partial_count=1), scene))
    assert store.has(scene.manifest.payload_sha256)


def test_a_disk_that_does_not_answer_does_not_end_the_sweeping(
    store: FilePayloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise StorageError("gone")

    async def stop(_: float) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(store, "drop_partials", fail)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(make_intake(store).sweep_regularly(stop))


@pytest.mark.parametrize("wrong", [{"partial_bytes": 0}, {"partial_count": 0}, {"partial_check_s": 0.0}])
def test_limits_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match="partial_bytes"):
        IngestConfig(**wrong)


def place_without_row(store: FilePayloadStore, scene: EncodedScene) -> None:
    """What a server leaves that is killed between the two."""
    partial = store.open_partial(scene.manifest.scene_id)
    partial.append(scene.payload)
    partial.commit()


def test_a_payload_that_a_killed_server_had_placed_is_not_sent_again(store: FilePayloadStore) -> None:
    async def scenario() -> None:
        scene = make_scene()
        place_without_row(store, scene)
        intake = make_intake(store)
        begun = await begin(intake, scene)
        assert begun.held().size == len(scene.payload)
        await intake.finish(begun)
        assert isinstance(await intake.begin(scene.manifest), StoredScene)
        intake.close()

    asyncio.run(scenario())


def test_a_payload_that_another_scene_has_is_nobody_elses_to_claim(store: FilePayloadStore) -> None:
    async def scenario() -> None:
        scene, catalogue = make_scene(), MemorySceneCatalogue()
        place_without_row(store, scene)
        catalogue.add(replace(scene.manifest, vehicle_id="car-2"), 1)
        intake = make_intake(store, catalogue)
        assert (await begin(intake, scene)).held().size == 0
        intake.close()

    asyncio.run(scenario())


def test_a_damaged_payload_without_a_row_comes_again(store: FilePayloadStore) -> None:
    async def scenario() -> None:
        scene = make_scene()
        place_without_row(store, scene)
        store.path(scene.manifest.payload_sha256).write_bytes(b"x" * len(scene.payload))
        intake = make_intake(store)
        begun = await begin(intake, scene)
        assert begun.held().size == 0
        await begun.add(0, scene.payload)
        await intake.finish(begun)
        assert store.read(scene.manifest.payload_sha256) == scene.payload
        intake.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_is_stored_while_its_stream_is_cut_is_counted(
    store: FilePayloadStore, monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    async def run() -> None:
        may_go_on, has_begun = threading.Event(), asyncio.Event()
        loop, intake, scene = asyncio.get_running_loop(), make_intake(store), make_scene()
        real = intake._completion.row

        def slow(*given: Any) -> StoredScene:
            loop.call_soon_threadsafe(has_begun.set)
            assert may_go_on.wait(10)
            return real(*given)

        monkeypatch.setattr(intake._completion, "row", slow)
        if is_whole:
            task = asyncio.create_task(intake.take_whole(scene.manifest, scene.payload))
        else:
            opened = await begin(intake, scene)
            await intake.add_chunk(opened, 0, scene.payload)
            task = asyncio.create_task(intake.finish(opened))  # type: ignore[arg-type]
        await has_begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert store.has(scene.manifest.payload_sha256)
        assert intake.metrics.scenes_stored._value.get() == 1
        assert intake._begun.half_sent.open_scenes == 0

    asyncio.run(run())


def test_a_scene_stays_counted_where_its_taking_over_is_refused(
    store: FilePayloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        intake, scene = make_intake(store), make_scene()
        opened = await begin(intake, scene)
        counts = intake._begun.half_sent

        def refuse(_: object) -> list[str]:
            raise ServerUnreachableError("no room")

        with monkeypatch.context() as patch:
            patch.setattr(counts, "admit", refuse)
            patch.setattr(intake._begun._bounds, "admit", lambda *_: True)
            with pytest.raises(ServerUnreachableError, match="no room"):
                await begin(intake, scene)
        assert intake._begun._is_sweep_due  # which the next one that is let in sees to
        assert (counts.open_scenes, counts.open_bytes) == (1, scene.manifest.payload_bytes)
        await intake.add_chunk(opened, 0, scene.payload)  # and goes on
        await intake.finish(opened)
        assert (counts.open_scenes, counts.open_bytes, counts.kept_bytes) == (0, 0, 0)

    asyncio.run(run())
