"""The outbox: order, quota, restarts, damage, and a disk that is full."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from protos.report import VehicleReport
from shared_models.errors import (
    IntegrityError,
    InvalidValueError,
    NotFoundError,
    StorageError,
    StorageFullError,
)
from tests.loopback import make_scene
from tests.vehicle_client.outbox_model import scene
from vehicle_client.outbox import Outbox, OutboxConfig, OutboxCounts, Priority


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "spool", OutboxConfig(max_bytes=30_000, when_full="refuse")) as opened:
        yield opened


def pending(outbox: Outbox) -> list[str]:
    """Frames in the order in which they would be sent."""
    frames: list[str] = []
    seen: set[str] = set()
    while (manifest := outbox.next_pending(seen)) is not None:
        frames.append(manifest.frame_id)
        seen.add(manifest.scene_id)
    return frames


def test_scene_comes_back_as_it_went_in(outbox: Outbox) -> None:
    scene = make_scene(1)
    assert outbox.put(scene)
    assert outbox.next_pending() == scene.manifest
    assert outbox.load(scene.manifest.scene_id) == scene


def test_same_scene_waits_once(outbox: Outbox) -> None:
    assert outbox.put(make_scene(1))
    assert not outbox.put(make_scene(1))
    assert outbox.counts() == OutboxCounts(pending=1, pending_bytes=10_000, delivered=0, dead=0, evicted=0)


def test_order_is_priority_then_age(outbox: Outbox) -> None:
    classes = [Priority.LOW, Priority.URGENT, Priority.ROUTINE, Priority.HIGH, Priority.URGENT, Priority.LOW]
    for number, priority in enumerate(classes):
        outbox.put(make_scene(number, size=10), priority)
    outbox.put(make_scene(6, size=10))  # routine
    assert pending(outbox) == ["000001", "000004", "000003", "000002", "000006", "000000", "000005"]


def test_delivered_scene_leaves_with_its_payload(outbox: Outbox) -> None:
    scene = make_scene(1)
    outbox.put(scene)
    assert outbox.mark_delivered(scene.manifest.scene_id)
    assert not outbox.mark_delivered(scene.manifest.scene_id)
    assert outbox.next_pending() is None
    assert not list((outbox.directory / "payloads").iterdir())
    assert outbox.counts() == OutboxCounts(pending=0, pending_bytes=0, delivered=1, dead=0, evicted=0)
    with pytest.raises(NotFoundError):
        outbox.load(scene.manifest.scene_id)


def test_full_outbox_refuses(outbox: Outbox) -> None:
    for number in range(3):
        outbox.put(make_scene(number))
    with pytest.raises(StorageFullError, match="30000 of 30000 are taken"):
        outbox.put(make_scene(3))
    assert len(pending(outbox)) == 3
    outbox.mark_delivered(make_scene(0).manifest.scene_id)
    assert outbox.put(make_scene(3))


def test_full_outbox_evicts_the_least_important_oldest_first(tmp_path: Path) -> None:
    with Outbox(tmp_path, OutboxConfig(max_bytes=30_000)) as outbox:
        for number, priority in enumerate([Priority.HIGH, Priority.LOW, Priority.LOW]):
            outbox.put(make_scene(number), priority)
        assert outbox.put(make_scene(3), Priority.HIGH)
        assert pending(outbox) == ["000000", "000003", "000002"]
        assert outbox.put(make_scene(4, size=20_000), Priority.HIGH)  # its own class goes last
        assert pending(outbox) == ["000003", "000004"]
        assert (outbox.counts().evicted, outbox.counts().evicted_bytes) == (3, 30_000)
        assert outbox.counts().pending_bytes == 30_000


def test_what_is_less_important_than_all_that_wait_is_dropped_itself(tmp_path: Path) -> None:
    heard: list[int] = []
    with Outbox(tmp_path, OutboxConfig(max_bytes=30_000)) as outbox:
        outbox.put(make_scene(0, size=5_000), Priority.LOW)
        outbox.put(make_scene(1, size=25_000), Priority.HIGH)
        outbox.subscribe(lambda: heard.append(1))
        assert not outbox.put(make_scene(2), Priority.ROUTINE)  # without the first it would not fit either
        assert pending(outbox) == ["000001", "000000"]
        assert (outbox.counts().evicted, outbox.counts().evicted_bytes) == (1, 10_000)
        assert heard == []


def test_scene_larger_than_the_quota(tmp_path: Path) -> None:
    with Outbox(tmp_path, OutboxConfig(max_bytes=5_000)) as outbox:
        outbox.put(make_scene(0, size=5_000))
        assert not outbox.put(make_scene(1), Priority.URGENT)
        assert pending(outbox) == ["000000"]
        assert (outbox.counts().evicted, outbox.counts().evicted_bytes) == (1, 10_000)
    with Outbox(tmp_path, OutboxConfig(max_bytes=5_000, when_full="refuse")) as outbox:
        with pytest.raises(StorageFullError, match="needs 10000 bytes"):
            outbox.put(make_scene(1))
        assert outbox.counts().evicted == 1


def test_the_report_for_the_server(tmp_path: Path) -> None:
    with Outbox(tmp_path, OutboxConfig(max_bytes=30_000)) as outbox:
        for number in range(4):
            outbox.put(make_scene(number))
        outbox.mark_delivered(make_scene(1).manifest.scene_id)
        outbox.mark_dead(make_scene(2).manifest.scene_id, "codec")
    with Outbox(tmp_path) as again:
        assert again.report() == VehicleReport(
            pending_scenes=1,
            pending_bytes=10_000,
            evicted_scenes=1,
            evicted_bytes=10_000,
            given_up_scenes=1,
            delivered_scenes=1,
        )


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    with Outbox(tmp_path) as outbox:
        for number in range(3):
            outbox.put(make_scene(number))
        outbox.mark_delivered(make_scene(1).manifest.scene_id)
    with Outbox(tmp_path) as again:
        assert pending(again) == ["000000", "000002"]
        assert again.load(make_scene(2).manifest.scene_id) == make_scene(2)
        assert again.counts() == OutboxCounts(pending=2, pending_bytes=20_000, delivered=1, dead=0, evicted=0)


def test_killed_process_loses_nothing_that_was_put(tmp_path: Path, repository: Path) -> None:
    program = (
        "import sys, pathlib; from vehicle_client.outbox import Outbox\n"
        "from tests.vehicle_client.outbox_model import scene\n"
        "outbox = Outbox(pathlib.Path(sys.argv[1]))\n"
        "for n in range(10_000):\n"
        "    outbox.put(scene(n, 1000)); print(n, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=repository, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(5)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    with Outbox(tmp_path) as outbox:
        assert pending(outbox)[: len(acknowledged)] == [f"{number:06d}" for number in acknowledged]
        for number in acknowledged:
            assert outbox.load(scene(number, 1000).manifest.scene_id) == scene(number, 1000)


def test_leftovers_of_a_crash_are_swept(tmp_path: Path) -> None:
    Outbox(tmp_path).close()
    (tmp_path / "payloads" / "abc").write_bytes(b"put was cut off before its row")
    (tmp_path / "payloads" / "abc.new").write_bytes(b"put was cut off before renaming")
    Outbox(tmp_path).close()
    assert not list((tmp_path / "payloads").iterdir())


@pytest.mark.parametrize("damage", ["change", "truncate", "remove"])
def test_damaged_payload(outbox: Outbox, damage: str) -> None:
    scene = make_scene(1)
    outbox.put(scene)
    path = outbox.directory / "payloads" / scene.manifest.scene_id
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(scene.payload[:-1] + (b"" if damage == "truncate" else b"?"))
    with pytest.raises(IntegrityError, match=scene.manifest.scene_id[:12]):
        outbox.load(scene.manifest.scene_id)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk(outbox: Outbox, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    outbox.put(make_scene(0))

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"vehicle_client.outbox.os.{call}", fail)
    with pytest.raises(StorageFullError, match="no space left"):
        outbox.put(make_scene(1))
    monkeypatch.undo()
    assert pending(outbox) == ["000000"]
    assert len(list((outbox.directory / "payloads").iterdir())) == 1
    assert outbox.put(make_scene(1))


def test_second_process_is_refused(outbox: Outbox) -> None:
    with pytest.raises(StorageError, match="in use by another process"):
        Outbox(outbox.directory)


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    Outbox(tmp_path).close()
    database = sqlite3.connect(tmp_path / "outbox.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StorageError, match="newer version"):
        Outbox(tmp_path)


def test_listeners_hear_of_new_scenes(outbox: Outbox) -> None:
    heard: list[int] = []
    unsubscribe = outbox.subscribe(lambda: heard.append(1))
    outbox.put(make_scene(0))
    outbox.put(make_scene(0))
    unsubscribe()
    outbox.put(make_scene(1))
    assert heard == [1]


@pytest.mark.parametrize(
    "wrong", [{"max_bytes": 0}, {"when_full": "panic"}, {"max_dead_letters": 0}, {"max_dead_bytes": 0}]
)
def test_config_is_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidValueError, match="OutboxConfig"):
        OutboxConfig(**wrong)  # type: ignore[arg-type]
