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

from shared_models.errors import (
    IntegrityError,
    InvalidValueError,
    NotFoundError,
    StorageError,
    StorageFullError,
)
from tests.loopback import make_scene
from vehicle_client.outbox import Outbox, OutboxConfig, OutboxCounts


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "spool", OutboxConfig(max_bytes=30_000)) as opened:
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
    for number, priority in enumerate([0, 5, 0, 5]):
        outbox.put(make_scene(number, size=10), priority)
    assert pending(outbox) == ["000001", "000003", "000000", "000002"]


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


def test_dead_letters_keep_manifest_and_reason(tmp_path: Path) -> None:
    with Outbox(tmp_path, OutboxConfig(max_dead_letters=2)) as outbox:
        for number in range(3):
            outbox.put(make_scene(number))
            outbox.mark_dead(make_scene(number).manifest.scene_id, f"reason {number}")
        letters = outbox.dead_letters()
        assert [(letter.manifest.frame_id, letter.reason) for letter in letters] == [
            ("000001", "reason 1"),
            ("000002", "reason 2"),
        ]
        assert outbox.counts().dead == 3


def test_dead_payloads_are_kept_aside(tmp_path: Path) -> None:
    scene = make_scene(1)
    with Outbox(tmp_path) as outbox:
        outbox.put(scene)
        outbox.mark_dead(scene.manifest.scene_id, "codec")
        assert not list((tmp_path / "payloads").iterdir())
    with Outbox(tmp_path) as again:
        (letter,) = again.dead_letters()
        assert letter.payload == tmp_path / "dead" / scene.manifest.scene_id
        assert letter.payload.read_bytes() == scene.payload
        assert again.counts() == OutboxCounts(pending=0, pending_bytes=0, delivered=0, dead=1, evicted=0)


def test_dead_payloads_are_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    with Outbox(tmp_path, OutboxConfig(max_dead_letters=4, max_dead_bytes=25_000)) as outbox:
        for number in range(6):
            outbox.put(make_scene(number))
            outbox.mark_dead(make_scene(number).manifest.scene_id, "codec")
        letters = outbox.dead_letters()
        assert [letter.manifest.frame_id for letter in letters] == ["000002", "000003", "000004", "000005"]
        assert [letter.payload is not None for letter in letters] == [False, False, True, True]
        assert (outbox.counts().dead, outbox.counts().dead_dropped) == (6, 4)
        assert len(list((tmp_path / "dead").iterdir())) == 2
    with Outbox(tmp_path, OutboxConfig(max_dead_letters=1)) as smaller:
        assert smaller.counts().dead_dropped == 5
        assert [path.name for path in (tmp_path / "dead").iterdir()] == [make_scene(5).manifest.scene_id]


def test_dead_payload_survives_a_crash_before_it_was_moved(tmp_path: Path) -> None:
    scene = make_scene(1)
    with Outbox(tmp_path) as outbox:
        outbox.put(scene)
        outbox.mark_dead(scene.manifest.scene_id, "codec")
    (tmp_path / "dead" / scene.manifest.scene_id).rename(tmp_path / "payloads" / scene.manifest.scene_id)
    (tmp_path / "dead" / "left behind").write_bytes(b"")
    with Outbox(tmp_path) as again:
        (letter,) = again.dead_letters()
        assert letter.payload is not None
        assert letter.payload.read_bytes() == scene.payload
        assert len(list((tmp_path / "dead").iterdir())) == 1


def test_scene_that_dies_twice_is_kept_once(tmp_path: Path) -> None:
    with Outbox(tmp_path) as outbox:
        for reason in ("first", "second"):
            assert outbox.put(make_scene(1))
            assert outbox.mark_dead(make_scene(1).manifest.scene_id, reason)
        assert [(letter.reason, letter.payload is None) for letter in outbox.dead_letters()] == [("second", False)]


def test_full_outbox_refuses(outbox: Outbox) -> None:
    for number in range(3):
        outbox.put(make_scene(number))
    with pytest.raises(StorageFullError, match="30000 of 30000 are taken"):
        outbox.put(make_scene(3))
    assert len(pending(outbox)) == 3
    outbox.mark_delivered(make_scene(0).manifest.scene_id)
    assert outbox.put(make_scene(3))


def test_full_outbox_evicts_the_least_important_oldest_first(tmp_path: Path) -> None:
    with Outbox(tmp_path, OutboxConfig(max_bytes=30_000, when_full="evict")) as outbox:
        for number, priority in enumerate([1, 0, 0]):
            outbox.put(make_scene(number), priority)
        outbox.put(make_scene(3), priority=1)
        assert pending(outbox) == ["000000", "000003", "000002"]
        outbox.put(make_scene(4, size=20_000), priority=1)
        assert pending(outbox) == ["000003", "000004"]
        with pytest.raises(StorageFullError):
            outbox.put(make_scene(5, size=20_000), priority=0)  # nothing less important is left
        assert outbox.counts().evicted == 3
        assert outbox.counts().pending_bytes == 30_000


def test_scene_larger_than_the_quota(tmp_path: Path) -> None:
    with Outbox(tmp_path, OutboxConfig(max_bytes=5_000, when_full="evict")) as outbox:
        outbox.put(make_scene(0, size=5_000))
        with pytest.raises(StorageFullError):
            outbox.put(make_scene(1))
        assert pending(outbox) == ["000000"]


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
        "import sys, pathlib, tests.loopback as l; from vehicle_client.outbox import Outbox\n"
        "outbox = Outbox(pathlib.Path(sys.argv[1]))\n"
        "for n in range(10_000):\n"
        "    outbox.put(l.make_scene(n, size=1000)); print(n, flush=True)\n"
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
            outbox.load(make_scene(number, size=1000).manifest.scene_id)


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
