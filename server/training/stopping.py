"""Stopping on signals: the first one asks, a second one ends at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

_SLICE_S: Final = 0.25  # a signal is noticed this late at most while waiting


class StopRequest:
    """Whether SIGINT or SIGTERM has asked to stop, while `listening`.

    is_wanted: they have; may also be set by whoever wants to stop otherwise.
    """

    def __init__(self) -> None:
        self.is_wanted = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle both signals; a second one raises KeyboardInterrupt. May be nested."""

        def ask(number: int, frame: Any) -> None:
            if self.is_wanted:
                raise KeyboardInterrupt
            self.is_wanted = True

        try:
            old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: whoever runs it there stops it otherwise
            old = {}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def wait(self, seconds: float, sleep: Callable[[float], None] = time.sleep) -> bool:
        """Let `seconds` pass, or less where somebody asks to stop; whether somebody did."""
        end_s = time.monotonic() + seconds
        while not self.is_wanted and (left_s := end_s - time.monotonic()) > 0:
            sleep(min(left_s, _SLICE_S))
        return self.is_wanted
