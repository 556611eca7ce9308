from __future__ import annotations

import os
import signal

import pytest

from server.training.stopping import StopRequest


def test_the_first_signal_asks_and_the_second_one_ends() -> None:
    stop, before = StopRequest(), signal.getsignal(signal.SIGTERM)
    with stop.listening():
        with stop.listening():
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_wanted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_waiting_ends_soon_after_a_signal() -> None:
    stop, slices = StopRequest(), []

    def sleep(seconds: float) -> None:
        slices.append(seconds)
        if len(slices) == 3:
            stop.is_wanted = True

    assert stop.wait(3600, sleep)
    assert len(slices) == 3
    assert max(slices) <= 0.25
    assert not StopRequest().wait(0.0, sleep)
