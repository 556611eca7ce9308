"""Counting open and half-sent scenes of each vehicle."""

from __future__ import annotations

import random

import pytest

from server.ingest.half_sent import HalfSent
from server.ingest.refusals import TryLaterError
from shared_models.records import SceneManifest
from tests.loopback import make_scene


def manifest(number: int, size: int = 100, vehicle: str = "car-1") -> SceneManifest:
    return make_scene(number, size=size, vehicle=vehicle).manifest


def leave(counts: HalfSent, number: int, held: int, now_s: float = 0.0, vehicle: str = "car-1") -> str:
    scene = manifest(number, vehicle=vehicle)
    counts.open(scene)
    counts.close(scene, held, now_s)
    return scene.scene_id


def test_open_scenes_alone_reach_the_limit() -> None:
    counts = HalfSent(250, 10)
    for number in range(2):
        assert counts.admit(manifest(number)) == []
        counts.open(manifest(number))
    with pytest.raises(TryLaterError) as caught:
        counts.admit(manifest(2))
    assert (caught.value.limit, caught.value.retry_after_ms) == ("half_sent", 1000)
    assert counts.admit(manifest(2, vehicle="car-2")) == []
    counts.close(manifest(0), 0, 0.0)
    assert counts.admit(manifest(2)) == []


def test_one_scene_larger_than_the_limit_is_let_in() -> None:
    assert HalfSent(10, 10).admit(manifest(0, size=1000)) == []


def test_the_oldest_that_were_left_make_room() -> None:
    counts = HalfSent(250, 10)
    first, second, third = (leave(counts, number, held=80) for number in range(3))
    foreign = leave(counts, 9, held=80, vehicle="car-2")
    assert counts.admit(manifest(2)) == [first]  # 240 held, of which 80 are of the scene itself
    assert counts.admit(manifest(3, size=200)) == [second, third]
    assert counts.kept_bytes == 80
    assert foreign not in counts.admit(manifest(4, size=250))


def test_a_scene_that_goes_on_is_not_left_any_more() -> None:
    counts = HalfSent(0, 10)
    leave(counts, 0, held=80)
    counts.open(manifest(0))
    assert (counts.open_scenes, counts.open_bytes, counts.kept_bytes) == (1, 100, 0)
    assert counts.opening_bytes("car-1") == 100


def test_what_was_left_is_forgotten_in_time_and_beyond_the_count() -> None:
    counts = HalfSent(0, 3)
    for number in range(5):
        leave(counts, number, held=10, now_s=float(number))
    assert counts.kept_bytes == 30
    counts.expire(4.0)
    assert counts.kept_bytes == 10


def test_counts_are_those_of_a_plain_list() -> None:
    generator, counts = random.Random(1), HalfSent(0, 1000)
    opened: dict[int, SceneManifest] = {}
    kept: dict[int, int] = {}
    for _ in range(2000):
        number = generator.randrange(40)
        scene = manifest(number, size=100 + number, vehicle=f"car-{number % 3}")
        if number in opened:
            held = generator.choice([0, 7, 50])
            counts.close(opened.pop(number), held, 0.0)
            kept |= {number: held} if held else {}
        else:
            counts.open(scene)
            opened[number] = scene
            kept.pop(number, None)
        assert counts.open_scenes == len(opened)
        assert counts.open_bytes == sum(each.payload_bytes for each in opened.values())
        assert counts.kept_bytes == sum(kept.values())
    assert counts.opening_bytes("car-1") == sum(s.payload_bytes for s in opened.values() if s.vehicle_id == "car-1")
