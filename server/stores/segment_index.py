"""Which payload lies where in which segment: a SQLite file beside them.

It is a convenience: all of it follows from the segments. So its commits need no sync; what a power cut takes of it, or
all of it, is read again from the segments when the store is opened.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.stores.segment_file import Record
from shared_models.errors import StorageError, StorageFullError

logger = logging.getLogger(__name__)

_TABLES = """
CREATE TABLE IF NOT EXISTS payloads (
    sha256 BLOB NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    PRIMARY KEY (sha256, segment, offset)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS segments (number INTEGER PRIMARY KEY, indexed_to INTEGER NOT NULL, live INTEGER NOT NULL);
"""
# A segment whose count is not that of its payloads: a copy of pages from different times, for example.
_MISCOUNTED = """
SELECT 1 FROM (SELECT number, live FROM segments UNION ALL SELECT segment, -count(*) FROM payloads GROUP BY segment)
GROUP BY number HAVING sum(live) <> 0 LIMIT 1
"""
_BUSY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a payload lies. offset: of its record's header."""

    segment: int
    offset: int
    length: int


class SegmentIndex:
    """The index in the file `path`; safe to use from several threads and processes. Calls raise StorageError."""

    def __init__(self, path: Path, is_read_only: bool = False) -> None:
        """Open it; one that is damaged is made anew, empty. is_read_only: nothing is made, a missing one is empty."""
        self._path, self._is_read_only, self._lock = path, is_read_only, threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._has_complained = False
        if is_read_only:
            return
        with self._errors():
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # in use, or not to be opened at all
                logger.warning("%s is damaged and is made anew from the segments: %s", path, error)
                for suffix in ("", "-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
                self._connection = self._open()

    def places(self, sha256: str) -> list[Place]:
        """All of a payload's; those of removed records may be among them."""
        query = "SELECT segment, offset, length FROM payloads WHERE sha256 = ?"
        rows = self._rows(query, (bytes.fromhex(sha256),))
        return [Place(segment=segment, offset=offset, length=length) for segment, offset, length in rows]

    def names(self) -> set[str]:
        """The hashes of all payloads."""
        return {sha256.hex() for (sha256,) in self._rows("SELECT DISTINCT sha256 FROM payloads", ())}

    def indexed_to(self) -> dict[int, int]:
        """Of each known segment, how far it was read."""
        return dict(self._rows("SELECT number, indexed_to FROM segments", ()))

    def dead(self) -> list[int]:
        """Segments of which nothing is left."""
        return [number for (number,) in self._rows("SELECT number FROM segments WHERE live <= 0", ())]

    def add(self, segment: int, found: Sequence[Record], end: int) -> None:
        """The segment was read up to `end`; `found` are the live records in it since the last time.

        Raises:
            StorageFullError: no space.
        """
        rows = [(bytes.fromhex(each.sha256), segment, each.offset, each.length) for each in found]
        with self._writing() as connection:
            before = connection.total_changes
            connection.executemany("INSERT OR IGNORE INTO payloads VALUES (?, ?, ?, ?)", rows)
            new = connection.total_changes - before  # another process may have been here first
            connection.execute(
                "INSERT INTO segments VALUES (?1, ?2, ?3) ON CONFLICT (number) DO UPDATE "
                "SET indexed_to = max(indexed_to, ?2), live = live + ?3",
                (segment, end, new),
            )

    def remove(self, sha256: str, place: Place) -> None:
        """Forget one place of a payload."""
        with self._writing() as connection:
            gone = connection.execute(
                "DELETE FROM payloads WHERE sha256 = ? AND segment = ? AND offset = ?",
                (bytes.fromhex(sha256), place.segment, place.offset),
            ).rowcount
            connection.execute("UPDATE segments SET live = live - ? WHERE number = ?", (gone, place.segment))

    def forget(self, segment: int) -> None:
        """The segment is not there any more."""
        with self._writing() as connection:
            connection.execute("DELETE FROM payloads WHERE segment = ?", (segment,))
            connection.execute("DELETE FROM segments WHERE number = ?", (segment,))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_TABLES)
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok" or connection.execute(_MISCOUNTED).fetchone() is not None:
                raise sqlite3.DatabaseError(f"it contradicts itself ({found})")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _rows(self, query: str, values: tuple[object, ...]) -> list[Any]:
        with self._errors():
            if not self._is_read_only:
                with self._lock:
                    return self._opened().execute(query, values).fetchall()
        return self._read(query, values)

    def _read(self, query: str, values: tuple[object, ...]) -> list[Any]:
        """For readers; nothing where the index cannot be read: what it should know is then read from the segments."""
        if not self._path.exists():
            return []
        # As with the catalogue's readers: connected anew each time, for a server may start or stop meanwhile.
        has_writer = self._path.with_name(f"{self._path.name}-wal").exists()
        address = f"{self._path.absolute().as_uri()}?mode=ro{'' if has_writer else '&immutable=1'}"
        try:
            with closing(sqlite3.connect(address, timeout=_BUSY_S, uri=True)) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            if not self._has_complained:
                logger.warning("%s cannot be read, the segments are read instead: %s", self._path, error)
            self._has_complained = True
            return []

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._errors(), self._lock:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageError(f"{self._path}: the payload store is closed")
        return self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> StorageError | StorageFullError:
        if "full" in str(error):
            return StorageFullError(f"{self._path.parent}: no space left on the server's disk; try again later")
        return StorageError(f"{self._path}: {error}: check the file, its disk and other users of it")
