"""Interruptions follow from their seed, and come as often as they should."""

from __future__ import annotations

import random
from collections import Counter

from benchmarks.faults.plan import SHARES, Kind, draw
from benchmarks.faults.proxy import Direction


def test_a_seed_gives_the_same_plan() -> None:
    once, again = (list(draw(random.Random(5), 100, 10_000)) for _ in range(2))
    assert once == again
    assert once != list(draw(random.Random(6), 100, 10_000))


def test_kinds_and_distances() -> None:
    plan = list(draw(random.Random(0), 10_000, 10_000))
    kinds = Counter(each.kind for each in plan)
    assert sum(SHARES.values()) == 100
    for kind in Kind:
        assert abs(kinds[kind] / 100 - SHARES[kind]) < 2
    up = [each.after_bytes for each in plan if each.direction is Direction.UP]
    assert min(up) >= 1
    assert max(up) <= 20_000
    assert abs(sum(up) / len(up) - 10_000) < 300
    assert max(each.after_bytes for each in plan if each.direction is Direction.DOWN) <= 600
