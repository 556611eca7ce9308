"""When patience with a stream is over; times are given, nobody waits."""

from __future__ import annotations

from typing import Any

import pytest

from server.ingest.slow_streams import SlowStreamConfig, Waiting
from shared_models.errors import InvalidValueError

CONFIG = SlowStreamConfig(idle_s=10.0, stalled_s=5.0, min_bytes_s=100.0, window_s=20.0)


def fault(waiting: Waiting, now_s: float, is_open: bool = False, is_finishing: bool = False, **config: float) -> Any:
    return waiting.fault(SlowStreamConfig(**config) if config else CONFIG, now_s, is_open, is_finishing)


def test_idle() -> None:
    waiting = Waiting(since_s=100.0)
    assert fault(waiting, 109.9) is None
    assert fault(waiting, 110.0) == "idle"
    assert fault(waiting, 110.0, is_finishing=True) is None  # the vehicle waits for us
    assert fault(Waiting(since_s=None), 1e6) is None  # we are at work
    assert fault(waiting, 1e6, idle_s=0.0) is None


def test_stalled() -> None:
    waiting = Waiting(since_s=100.0)
    assert fault(waiting, 104.9, is_open=True) is None
    assert fault(waiting, 105.0, is_open=True) == "stalled"
    assert fault(waiting, 105.0, is_open=True, is_finishing=True) == "stalled"
    assert fault(waiting, 1e6, is_open=True, stalled_s=0.0, min_bytes_s=0.0) is None


@pytest.mark.parametrize(("rate_bytes_s", "expected"), [(99, "trickle"), (101, None)])
def test_trickle(rate_bytes_s: int, expected: str | None) -> None:
    waiting, found = Waiting(), []
    for second in range(60):
        waiting.received_bytes += rate_bytes_s
        waiting.since_s = float(second)
        found.append(fault(waiting, float(second), is_open=True))
    assert found[:20] == [None] * 20
    assert found[20] == expected


def test_time_that_the_server_takes_does_not_count() -> None:
    waiting = Waiting(since_s=0.0)
    for second in range(100):
        waiting.since_s = None if second % 15 == 14 else float(second)
        assert fault(waiting, float(second), is_open=True) is None


def test_small_scenes_now_and_then_are_no_trickle() -> None:
    waiting = Waiting()
    for second in range(100):
        waiting.received_bytes += 1
        waiting.since_s = float(second)
        assert fault(waiting, float(second), is_open=second % 10 == 0) is None


@pytest.mark.parametrize("wrong", [{"idle_s": -1.0}, {"check_s": 0.0}, {"window_s": 0.0}, {"write_s": float("nan")}])
def test_settings_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidValueError, match="SlowStreamConfig"):
        SlowStreamConfig(**wrong)
