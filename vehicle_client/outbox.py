"""A durable, bounded spool of scenes between the detector and the link.

A scene is on disk (payload file synced, then its row committed) before `put` returns, and leaves only after the
server has said that it is stored. Order: highest priority first, then oldest first. One process at a time.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from shared_models.errors import IntegrityError, InvalidValueError, NotFoundError, StorageError, StorageFullError
from shared_models.records import EncodedScene, SceneManifest
from vehicle_client.dead_letters import DeadLetter, DeadLetters
from vehicle_client.durable import sync_directory, write_durably

logger = logging.getLogger(__name__)

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS scenes (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    scene_id TEXT NOT NULL UNIQUE,
    manifest TEXT NOT NULL,
    payload_bytes INTEGER NOT NULL,
    priority INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS scenes_in_order ON scenes (priority DESC, sequence);
CREATE TABLE IF NOT EXISTS dead_letters (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    scene_id TEXT NOT NULL,
    manifest TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxConfig:
    """Size of the spool and what happens when it is full.

    max_bytes: payload bytes that may wait, at most.
    when_full: "refuse" raises `StorageFullError` in `put`; "evict" drops the lowest priority, oldest first, counted.
    max_dead_letters: refused scenes that are kept for the operator in `dead/`; older ones are only counted.
    max_dead_bytes: their payloads together; the oldest are dropped, counted, and leave manifest and reason behind.
    """

    max_bytes: int = 2 << 30
    when_full: Literal["refuse", "evict"] = "refuse"
    max_dead_letters: int = 1000
    max_dead_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        if min(self.max_bytes, self.max_dead_letters, self.max_dead_bytes) < 1:
            raise InvalidValueError(f"OutboxConfig: expected sizes of at least 1, got {self}")
        if self.when_full not in ("refuse", "evict"):
            raise InvalidValueError(f"OutboxConfig.when_full: expected refuse or evict, got {self.when_full!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxCounts:
    """What waits now, and what happened since the outbox was made (restarts included).

    dead: scenes given up; dead_dropped: those of them whose payload was kept at first and had to go.
    """

    pending: int
    pending_bytes: int
    delivered: int
    dead: int
    evicted: int
    dead_dropped: int = 0


class Outbox:
    """Scenes waiting for the server; safe to use from several threads of one process."""

    def __init__(self, directory: Path, config: OutboxConfig | None = None) -> None:
        """Open or make the spool in `directory` and repair what a crash left behind.

        Raises:
            StorageError: the folder cannot be used, belongs to another process, or was written by a newer version.
        """
        self.directory, self.config = directory, config or OutboxConfig()
        self._payloads = directory / "payloads"
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        with _storage_errors(directory):
            self._payloads.mkdir(parents=True, exist_ok=True)
            sync_directory(directory)
            self._lock_file = _lock_directory(directory)
            self._database = _open_database(directory / "outbox.sqlite")
            self._dead = DeadLetters(
                directory / "dead", self._database, self.config.max_dead_letters, self.config.max_dead_bytes
            )
            self._repair()
        self._pending_bytes = self._number("SELECT COALESCE(SUM(payload_bytes), 0) FROM scenes")

    def put(self, scene: EncodedScene, priority: int = 0) -> bool:
        """Make `scene` durable; False where it already waits here.

        Raises:
            StorageFullError: quota or disk is full; nothing was changed.
            StorageError: the spool cannot be written.
        """
        manifest, size = scene.manifest, len(scene.payload)
        scene_id = manifest.scene_id
        with self._lock, _storage_errors(self.directory):
            if self._number("SELECT COUNT(*) FROM scenes WHERE scene_id = ?", scene_id):
                return False
            evicted = self._choose_evictions(manifest, size, priority)
            write_durably(self._payloads / scene_id, scene.payload)
            with self._database:
                self._delete(evicted, "evicted")
                self._database.execute(
                    "INSERT INTO scenes (scene_id, manifest, payload_bytes, priority) VALUES (?, ?, ?, ?)",
                    (scene_id, json.dumps(asdict(manifest)), size, priority),
                )
            self._pending_bytes += size - sum(evicted.values())
            self._unlink(evicted)
            listeners = tuple(self._listeners)
        if evicted:
            logger.warning("outbox full: scenes dropped", extra={"evicted": len(evicted)})
        for listener in listeners:
            listener()
        return True

    def next_pending(self, exclude: Collection[str] = ()) -> SceneManifest | None:
        """The scene to send next, leaving out the ids in `exclude`; None where nothing waits."""
        query = "SELECT scene_id, manifest FROM scenes ORDER BY priority DESC, sequence LIMIT ?"
        with self._lock, _storage_errors(self.directory):
            rows = self._database.execute(query, (len(exclude) + 1,)).fetchall()
        return next((_manifest(text) for scene_id, text in rows if scene_id not in exclude), None)

    def load(self, scene_id: str) -> EncodedScene:
        """A waiting scene with its payload, checked against its hash.

        Raises:
            NotFoundError: it does not wait here (delivered or evicted meanwhile).
            IntegrityError: the payload on disk is damaged or missing; the scene cannot be sent.
        """
        with self._lock, _storage_errors(self.directory):
            row = self._database.execute("SELECT manifest FROM scenes WHERE scene_id = ?", (scene_id,)).fetchone()
            if row is None:
                raise NotFoundError(f"scene {scene_id[:12]} does not wait in {self.directory}")
            try:
                payload = (self._payloads / scene_id).read_bytes()
            except FileNotFoundError as error:
                raise IntegrityError(f"scene {scene_id[:12]}: its payload is gone from {self.directory}") from error
        return EncodedScene(manifest=_manifest(row[0]), payload=payload)

    def mark_delivered(self, scene_id: str) -> bool:
        """Forget a scene that the server has stored; False where it was not here any more."""
        return self._remove(scene_id, "delivered")

    def mark_dead(self, scene_id: str, reason: str) -> bool:
        """Keep a scene that will never be accepted aside in `dead/`; False where it was not here any more."""
        return self._remove(scene_id, "dead", reason)

    def counts(self) -> OutboxCounts:
        """What waits, and what happened so far."""
        with self._lock, _storage_errors(self.directory):
            pending = self._number("SELECT COUNT(*) FROM scenes")
            totals = dict(self._database.execute("SELECT name, value FROM counters").fetchall())
            return OutboxCounts(
                pending=pending,
                pending_bytes=self._pending_bytes,
                delivered=totals.get("delivered", 0),
                dead=totals.get("dead", 0),
                evicted=totals.get("evicted", 0),
                dead_dropped=totals.get("dead_dropped", 0),
            )

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """Refused scenes, oldest first."""
        with self._lock, _storage_errors(self.directory):
            return self._dead.letters()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` (short, from the putting thread) after each new scene; returns what ends that."""
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.remove(listener)

        return unsubscribe

    def close(self) -> None:
        """Close the spool; what waits stays for the next start."""
        with self._lock:
            self._database.close()
            os.close(self._lock_file)

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _choose_evictions(self, manifest: SceneManifest, size: int, priority: int) -> dict[str, int]:
        """Sizes by id of the waiting scenes that must go so that `size` more bytes fit."""
        excess = self._pending_bytes + size - self.config.max_bytes
        if excess <= 0:
            return {}
        chosen: dict[str, int] = {}
        if self.config.when_full == "evict":
            query = "SELECT scene_id, payload_bytes FROM scenes WHERE priority <= ? ORDER BY priority, sequence"
            for scene_id, payload_bytes in self._database.execute(query, (priority,)):
                chosen[scene_id] = payload_bytes
                excess -= payload_bytes
                if excess <= 0:
                    return chosen
        raise StorageFullError(
            f"outbox {self.directory}: frame {manifest.frame_id} needs {size} bytes, {self._pending_bytes} of "
            f"{self.config.max_bytes} are taken: wait for the link, or raise max_bytes"
        )

    def _remove(self, scene_id: str, counter: str, reason: str | None = None) -> bool:
        with self._lock, _storage_errors(self.directory):
            row = self._database.execute(
                "SELECT manifest, payload_bytes FROM scenes WHERE scene_id = ?", (scene_id,)
            ).fetchone()
            if row is None:
                return False
            with self._database:
                self._delete({scene_id: row[1]}, counter)
                if reason is not None:
                    self._dead.insert(scene_id, row[0], reason)
            self._pending_bytes -= row[1]
            if reason is not None:
                self._dead.take(scene_id, self._payloads / scene_id)
            self._unlink((scene_id,))
        return True

    def _delete(self, scene_ids: Collection[str], counter: str) -> None:
        if not scene_ids:
            return
        self._database.executemany("DELETE FROM scenes WHERE scene_id = ?", [(s,) for s in scene_ids])
        self._database.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (counter, len(scene_ids)),
        )

    def _unlink(self, scene_ids: Collection[str]) -> None:
        # Not synced: a file that comes back after a power cut has no row any more and is swept at the next start.
        for scene_id in scene_ids:
            (self._payloads / scene_id).unlink(missing_ok=True)

    def _repair(self) -> None:
        """Move or remove files without a row: a `put` or a removal that was cut off halfway."""
        known = {row[0] for row in self._database.execute("SELECT scene_id FROM scenes")}
        self._dead.repair(self._payloads, known)
        for path in self._payloads.iterdir():
            if path.name not in known:
                path.unlink()

    def _number(self, query: str, *arguments: str) -> int:
        return int(self._database.execute(query, arguments).fetchone()[0])


def _manifest(text: str) -> SceneManifest:
    return SceneManifest(**json.loads(text))


def _open_database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False, timeout=10.0)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > _SCHEMA_VERSION:
        database.close()
        raise StorageError(
            f"{path}: written by a newer version (schema {version}, this build reads {_SCHEMA_VERSION}): update, or "
            "give another folder"
        )
    database.executescript(_SCHEMA)
    database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    database.commit()
    return database


def _lock_directory(directory: Path) -> int:
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StorageError(f"outbox {directory} is in use by another process: give each vehicle its own") from error
    return descriptor


@contextmanager
def _storage_errors(directory: Path) -> Iterator[None]:
    """Turn what the file system and SQLite raise into the project's errors."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(f"outbox {directory}: no space left on its disk: free some, then go on") from error
        raise StorageError(f"outbox {directory}: {error}") from error
    except sqlite3.Error as error:
        if "full" in str(error):
            raise StorageFullError(f"outbox {directory}: no space left on its disk: free some, then go on") from error
        raise StorageError(f"outbox {directory}: {error}: check the disk and its permissions") from error
