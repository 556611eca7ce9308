"""A file of lines that outlives `kill -9` of whoever writes it: what a process was doing, for the inquest afterwards.

Not synced: the page cache survives the death of a process, and no power is cut here.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line: when (monotonic clock of the machine, so that journals can be merged), what, and its words."""

    at_ns: int
    kind: str
    words: tuple[str, ...]


class Journal:
    """Appends lines, each with one system call: a line is there whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, kind: str, *words: object) -> None:
        """Add a line; words must not hold blanks."""
        os.write(self._descriptor, (" ".join([str(time.monotonic_ns()), kind, *map(str, words)]) + "\n").encode())


def read_journal(path: Path) -> list[Entry]:
    """All lines, in the order in which they were written; none where there is no such file."""
    if not path.exists():
        return []
    lines = [line.split(" ") for line in path.read_text(encoding="utf-8").splitlines()]
    return [Entry(at_ns=int(at), kind=kind, words=tuple(words)) for at, kind, *words in lines]
