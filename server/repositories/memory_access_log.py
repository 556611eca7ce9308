"""A log of access in memory, for tests and trials: gone when the process ends."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence

from server.repositories.access_log import AccessLog, Action, Entry, Event, Head, chained


class MemoryAccessLog(AccessLog):
    """Entries in a list."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def append(self, events: Sequence[Event]) -> Head:
        with self._lock:
            self._entries += chained(self._head(), events)
            return self._head()

    def entries(self, after: int = 0, actions: Collection[Action] | None = None) -> Iterator[Entry]:
        with self._lock:
            found = [each for each in self._entries if each.sequence > after]
        return (each for each in found if actions is None or each.action in actions)

    def head(self) -> Head:
        with self._lock:
            return self._head()

    def _head(self) -> Head:
        return Head(sequence=self._entries[-1].sequence, sha256=self._entries[-1].sha256) if self._entries else Head()
