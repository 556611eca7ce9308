"""How the data folder's SQLite file is opened and used: by several processes at once, in WAL mode."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy import exc as database_errors
from sqlalchemy.pool import NullPool

from server.repositories.database import Database
from server.repositories.migrate import check_current, upgrade
from shared_models.errors import StorageError, StorageFullError


class SqliteFile(Database):
    """One open SQLite file."""

    def __init__(
        self, path: Path, busy_timeout_s: float = 5.0, is_read_only: bool = False, is_every_commit_synced: bool = True
    ) -> None:
        """Open it, and make it or bring it to the newest schema first.

        busy_timeout_s: how long to wait for another writer.
        is_read_only: open a file that is there already, also one of a running server, changing nothing.
        is_every_commit_synced: a commit survives a power cut; without, it only survives the end of this process.

        Raises:
            StorageError: the file cannot be used, is no such database, or was written by another version.
        """
        self.name, self._busy_timeout_s, self._writing = str(path), busy_timeout_s, threading.Lock()
        make = _make_reader if is_read_only else _make_synced_writer if is_every_commit_synced else _make_writer
        self.engine = make(path, busy_timeout_s)
        # A writer waits for others at the start: SQLite lets no reader become one once the file has changed.
        self._writer = self.engine.execution_options(is_writing=True)
        with self.transaction(is_writing=not is_read_only) as connection:
            (check_current if is_read_only else upgrade)(connection, self.name)

    @contextmanager
    def transaction(
        self, *let_through: type[database_errors.SQLAlchemyError], is_writing: bool = False
    ) -> Iterator[Connection]:
        try:
            if is_writing:
                with self._alone(), self._writer.begin() as connection:
                    yield connection
            else:
                with self.engine.begin() as connection:
                    yield connection
        except let_through:
            raise
        except database_errors.SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error)
            if "full" in reason:
                raise StorageFullError(f"{self.name}: no space left on the server's disk; try again later") from error
            raise StorageError(
                f"{self.name}: the catalogue does not answer ({reason}): check the file, its disk and other users of it"
            ) from error

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Among the threads of this process: SQLite lets them ask again and again, this wakes one when it is free."""
        if not self._writing.acquire(timeout=self._busy_timeout_s):
            raise StorageError(f"{self.name}: the catalogue does not answer (locked by this process): try again later")
        try:
            yield
        finally:
            self._writing.release()


def _make_synced_writer(path: Path, busy_timeout_s: float) -> Engine:
    engine = _make_writer(path, busy_timeout_s)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = FULL"))
    return engine


def _make_writer(path: Path, busy_timeout_s: float) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path.parent}: {error.strerror}: choose another folder for the server's data") from error
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": busy_timeout_s})
    event.listen(engine, "connect", _use_wal)
    event.listen(engine, "begin", _begin)
    return engine


def _make_reader(path: Path, busy_timeout_s: float) -> Engine:
    def connect() -> sqlite3.Connection:
        # A writer keeps a -wal file. Without one nothing changes the file, and only as "immutable" can SQLite read it
        # without making files beside it, which a read-only folder does not allow.
        has_writer = path.with_name(f"{path.name}-wal").exists()
        address = f"{path.absolute().as_uri()}?mode=ro{'' if has_writer else '&immutable=1'}"
        return sqlite3.connect(address, timeout=busy_timeout_s, uri=True, isolation_level=None, check_same_thread=False)

    # Connected anew for each query, for a server may start or stop meanwhile.
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    # Python's driver would begin by itself, but not before CREATE TABLE: a migration could be cut off halfway.
    is_writing = connection.get_execution_options().get("is_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _use_wal(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
