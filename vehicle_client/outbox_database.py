"""The outbox's index: its SQLite file, older forms of it, the lock of its folder, and what goes wrong with them."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared_models.errors import StorageError, StorageFullError
from vehicle_client.disk_reserve import is_disk_full
from vehicle_client.priority import Priority

SCHEMA_VERSION = 2
_JOURNAL_PAGES = 32  # of 4 KiB, before they are taken into the database; SQLite's own default is 1000
PAYLOADS, DEAD = "payloads", "dead"  # folders of the scenes that wait, and of those that were given up

_TABLES = (
    """CREATE TABLE scenes (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        scene_id TEXT NOT NULL UNIQUE,
        manifest TEXT NOT NULL,
        payload_bytes INTEGER NOT NULL,
        priority INTEGER NOT NULL
    )""",
    "CREATE INDEX scenes_in_order ON scenes (priority DESC, sequence)",
    """CREATE TABLE dead_letters (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        scene_id TEXT NOT NULL,
        manifest TEXT NOT NULL,
        reason TEXT NOT NULL,
        payload_bytes INTEGER
    )""",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
)


def open_database(directory: Path) -> sqlite3.Connection:
    """Open or make the index in `directory`; a commit is on disk when it returns.

    Raises:
        StorageError: it was written by a newer version.
        OSError, sqlite3.Error: it cannot be used.
    """
    path = directory / "outbox.sqlite"
    database = sqlite3.connect(path, check_same_thread=False, timeout=10.0)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA wal_autocheckpoint = {_JOURNAL_PAGES}")  # the journal is on the vehicle's disk, too
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"{path}: written by a newer version (schema {version}, this build reads {SCHEMA_VERSION}): update, or "
                "give another folder"
            )
        if version < SCHEMA_VERSION:
            _upgrade(database, version, directory)
    except BaseException:
        database.close()
        raise
    return database


def _upgrade(database: sqlite3.Connection, version: int, directory: Path) -> None:
    """Make the tables, or bring those of an older build up to date: all of it or nothing."""
    with database:
        database.execute("BEGIN IMMEDIATE")
        if version == 0:
            database.execute("DROP TABLE IF EXISTS scenes")  # an older build was cut off while it made them
            database.execute("DROP TABLE IF EXISTS dead_letters")
            database.execute("DROP TABLE IF EXISTS counters")
            for statement in _TABLES:
                database.execute(statement)
        else:
            _name_priorities(database)
            _measure_dead_payloads(database, directory)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _name_priorities(database: sqlite3.Connection) -> None:
    """In schema 1 a scene that nobody had judged was of class 0, and classes had no bounds."""
    database.execute("UPDATE scenes SET priority = ? WHERE priority < ?", (Priority.ROUTINE, Priority.ROUTINE))
    database.execute("UPDATE scenes SET priority = ? WHERE priority > ?", (Priority.URGENT, Priority.URGENT))


def _measure_dead_payloads(database: sqlite3.Connection, directory: Path) -> None:
    """In schema 1 only the folders told which payloads are kept."""
    database.execute("ALTER TABLE dead_letters ADD COLUMN payload_bytes INTEGER")
    waiting = {row[0] for row in database.execute("SELECT scene_id FROM scenes")}
    for (scene_id,) in database.execute("SELECT scene_id FROM dead_letters").fetchall():
        paths = [directory / DEAD / scene_id] + [directory / PAYLOADS / scene_id] * (scene_id not in waiting)
        size = next((path.stat().st_size for path in paths if path.exists()), None)
        database.execute("UPDATE dead_letters SET payload_bytes = ? WHERE scene_id = ?", (size, scene_id))


def add_to_counter(database: sqlite3.Connection, name: str, amount: int) -> None:
    """Count so many more, within the caller's transaction."""
    database.execute(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        (name, amount),
    )


def lock_directory(directory: Path) -> int:
    """Claim the folder for this process; the descriptor that holds the claim, which ends with it.

    Raises:
        StorageError: another process has it.
    """
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StorageError(f"outbox {directory} is in use by another process: give each vehicle its own") from error
    return descriptor


@contextmanager
def storage_errors(directory: Path) -> Iterator[None]:
    """Turn what the file system and SQLite raise into the project's errors."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise StorageFullError(f"outbox {directory}: no space left on its disk: free some, then go on") from error
        raise StorageError(f"outbox {directory}: {error}") from error
    except sqlite3.Error as error:
        if is_disk_full(error):
            raise StorageFullError(f"outbox {directory}: no space left on its disk: free some, then go on") from error
        raise StorageError(f"outbox {directory}: {error}: check the disk and its permissions") from error
