"""Scenes that were given up: what is kept of them, for how long, and what a crash may not take."""

from __future__ import annotations

from pathlib import Path

from tests.loopback import make_scene
from vehicle_client.outbox import Outbox, OutboxConfig, OutboxCounts


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


def test_a_payload_that_was_missing_or_got_lost_is_not_named(tmp_path: Path) -> None:
    with Outbox(tmp_path) as outbox:
        for number in range(2):
            outbox.put(make_scene(number))
        (tmp_path / "payloads" / make_scene(0).manifest.scene_id).unlink()
        for number in range(2):
            outbox.mark_dead(make_scene(number).manifest.scene_id, "integrity")
        assert [letter.payload is not None for letter in outbox.dead_letters()] == [False, True]
    (tmp_path / "dead" / make_scene(1).manifest.scene_id).unlink()
    with Outbox(tmp_path) as again:
        assert [letter.payload for letter in again.dead_letters()] == [None, None]
        assert (again.counts().dead, again.counts().dead_dropped) == (2, 0)


def test_an_empty_payload_takes_no_room_and_stays(tmp_path: Path) -> None:
    with Outbox(tmp_path, OutboxConfig(max_dead_bytes=10_000)) as outbox:
        for number, size in enumerate([0, 10_000, 10_000]):
            outbox.put(make_scene(number, size=size))
            outbox.mark_dead(make_scene(number, size=size).manifest.scene_id, "codec")
        assert [letter.payload is not None for letter in outbox.dead_letters()] == [True, False, True]
