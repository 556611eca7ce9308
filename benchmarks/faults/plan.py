"""Which interruption comes next: drawn from a seed, so that a run can be repeated as far as processes allow."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.faults.proxy import Direction

_DOWN_BYTES = 600  # a few answers of the server, with what HTTP/2 adds
_DOWN_SHARE = 0.15


class Kind(StrEnum):
    """What is done to whom."""

    CUT = "cut"
    HALF_OPEN = "half-open"
    KILL_SERVER = "kill server"
    KILL_VEHICLE = "kill vehicle"
    KILL_BOTH = "kill both"


SHARES = {Kind.CUT: 45, Kind.HALF_OPEN: 6, Kind.KILL_SERVER: 22, Kind.KILL_VEHICLE: 22, Kind.KILL_BOTH: 5}
"""How often each kind comes, of 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """`kind` happens once `after_bytes` more have passed in `direction`; is_reset: cut with RST instead of FIN."""

    kind: Kind
    direction: Direction
    after_bytes: int
    is_reset: bool


def draw(rng: random.Random, count: int, mean_bytes: int) -> Iterator[Interruption]:
    """`count` interruptions, on average `mean_bytes` of a vehicle's sending apart."""
    kinds, weights = list(SHARES), list(SHARES.values())
    for _ in range(count):
        is_down = rng.random() < _DOWN_SHARE
        yield Interruption(
            kind=rng.choices(kinds, weights)[0],
            direction=Direction.DOWN if is_down else Direction.UP,
            after_bytes=rng.randint(1, _DOWN_BYTES if is_down else 2 * mean_bytes),
            is_reset=rng.random() < 0.5,
        )
