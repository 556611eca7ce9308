"""Scenes go when their time is over, regularly, and the server ends without waiting for the next sweep."""

from __future__ import annotations

import asyncio
import logging

import pytest

from server.ingest import retention
from server.ingest.retention import Retention, RetentionConfig, retaining
from server.records.deletion import Deleted
from server.records.verification import verify
from server.repositories.archive import SceneArchive
from server.repositories.memory import MemorySceneCatalogue
from server.stores.memory import MemoryPayloadStore
from shared_models.errors import InvalidValueError, StorageError
from tests.loopback import make_scene

DAY_NS = 86_400 * 10**9


@pytest.fixture
def archive() -> SceneArchive:
    """Scenes 0 to 4, stored on days 100 to 104."""
    made = SceneArchive(catalogue=MemorySceneCatalogue(), store=MemoryPayloadStore())
    for number in range(5):
        made.add(make_scene(number, size=100), stored_at_ns=(100 + number) * DAY_NS)
    return made


def left(archive: SceneArchive) -> list[int]:
    return [int(scene.manifest.frame_id) for scene in archive.catalogue.scenes()]


@pytest.mark.parametrize(("day", "kept"), [(109, [0, 1, 2, 3, 4]), (110, [0, 1, 2, 3, 4]), (112, [2, 3, 4]), (200, [])])
def test_what_is_older_goes(archive: SceneArchive, day: int, kept: list[int]) -> None:
    swept = Retention(archive, RetentionConfig(days=10), clock_ns=lambda: day * DAY_NS).sweep()
    assert left(archive) == kept
    gone = 5 - len(kept)
    assert swept == Deleted(scenes=gone, payloads=gone, payload_bytes=100 * gone)
    assert verify(archive).is_sound
    entries = list(archive.catalogue.log.entries(after=5))
    assert [entry.action for entry in entries] == (["retention", *["removed"] * gone] if gone else [])
    assert all(entry.actor == "server/retention" and entry.at_ns == day * DAY_NS for entry in entries)


def test_before_the_first_period_is_over(archive: SceneArchive) -> None:
    assert Retention(archive, RetentionConfig(days=200), clock_ns=lambda: 105 * DAY_NS).sweep() == Deleted()


def test_in_batches(archive: SceneArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    assert Retention(archive, RetentionConfig(days=1), clock_ns=lambda: 200 * DAY_NS).sweep().scenes == 5
    assert [entry.action for entry in archive.catalogue.log.entries()].count("retention") == 3


def test_regularly_and_after_trouble(
    archive: SceneArchive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    day, pauses, seen = [111], list[float](), list[list[int]]()
    swept = Retention(archive, RetentionConfig(days=10, check_s=7.0), clock_ns=lambda: day[0] * DAY_NS)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        seen.append(left(archive))
        if len(pauses) == 2:
            day[0] = 113
        if len(pauses) == 3:
            raise asyncio.CancelledError

    working = archive.catalogue.remove
    failures = [StorageError("the disk is gone")]

    def remove(*arguments: object) -> object:
        if failures:
            raise failures.pop()
        return working(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(archive.catalogue, "remove", remove)
    with caplog.at_level(logging.ERROR), pytest.raises(asyncio.CancelledError):
        asyncio.run(swept.sweep_regularly(sleep))
    assert pauses == [7.0, 7.0, 7.0]
    assert seen == [[0, 1, 2, 3, 4], [1, 2, 3, 4], [3, 4]]
    assert "the disk is gone" in caplog.text


def test_payloads_that_were_left_go_at_the_start(archive: SceneArchive) -> None:
    archive.catalogue.remove([next(archive.catalogue.scenes()).scene_id])

    async def run() -> None:
        swept = asyncio.Event()

        async def sleep(_seconds: float) -> None:
            swept.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(
            Retention(archive, RetentionConfig(days=9_999), clock_ns=lambda: 0).sweep_regularly(sleep)
        )
        await swept.wait()
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(run())
    assert verify(archive).left_over == 0
    assert len(archive.store._payloads) == 4  # type: ignore[attr-defined]


@pytest.mark.parametrize("days", [None, 36_500])
def test_the_block_ends_at_once(archive: SceneArchive, days: int | None) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), retaining(archive, days):
            await asyncio.sleep(0)

    asyncio.run(run())
    assert len(left(archive)) == 5


@pytest.mark.parametrize("wrong", [{"days": 0}, {"days": 36_501}, {"check_s": 0.0}])
def test_configurations_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidValueError, match="RetentionConfig"):
        RetentionConfig(**wrong)  # type: ignore[arg-type]
