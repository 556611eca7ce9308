"""A durable, bounded spool of scenes between the detector and the link.

A scene is on disk (payload file synced, then its row committed) before `put` returns, and leaves only when the server
has said that it is stored, when it is given up, or when a full outbox has to make room; each of these is one
transaction with its counter, so that a crash or a power cut at any instruction leaves all of it or nothing.

Order of sending: highest priority class first, within a class what was put first. Order of eviction: lowest class
first, within a class what was put first (see `Priority`). One process at a time.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from protos.report import VehicleReport
from shared_models.errors import IntegrityError, NotFoundError, StorageFullError
from shared_models.records import EncodedScene, SceneManifest
from vehicle_client.begun_mark import BegunMark
from vehicle_client.dead_letters import DeadLetter, DeadLetters
from vehicle_client.disk_reserve import DiskReserve
from vehicle_client.durable import make_directory, sync_directory, write_durably
from vehicle_client.eviction import choose_evictions
from vehicle_client.outbox_config import OutboxConfig, OutboxCounts
from vehicle_client.outbox_database import (
    DEAD,
    PAYLOADS,
    add_to_counter,
    lock_directory,
    open_database,
    storage_errors,
)
from vehicle_client.priority import Priority

__all__ = ["Outbox", "OutboxConfig", "OutboxCounts", "Priority"]

logger = logging.getLogger(__name__)


class Outbox:
    """Scenes waiting for the server; safe to use from several threads of one process."""

    def __init__(self, directory: Path, config: OutboxConfig | None = None) -> None:
        """Open or make the spool in `directory` and repair what a crash left behind.

        Raises:
            StorageError: the folder cannot be used, belongs to another process, or was written by a newer version.
        """
        self.directory, self.config = directory, config or OutboxConfig()
        self._payloads = directory / PAYLOADS
        self._reserve = DiskReserve(directory / "reserve")
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        with storage_errors(directory):
            make_directory(self._payloads)
            make_directory(directory / DEAD)
            self._lock_file = lock_directory(directory)
            try:
                self._database = self._reserve.lend_to(lambda: open_database(directory))
            except BaseException:
                os.close(self._lock_file)
                raise
            for folder in (directory, directory.parent):  # names that an earlier process may not have synced any more
                sync_directory(folder)
            self._dead = DeadLetters(
                directory / DEAD, self._database, self.config.max_dead_letters, self.config.max_dead_bytes
            )
            self._repair()
            self._begun = BegunMark(self._database)
            self._reserve.keep()
        self._pending_bytes = self._number("SELECT COALESCE(SUM(payload_bytes), 0) FROM scenes")

    def put(self, scene: EncodedScene, priority: Priority = Priority.ROUTINE) -> bool:
        """Make `scene` durable; waits for this machine's disk only, never for the network.

        False where it already waits here, or where the outbox is full, evicts, and only more important scenes wait:
        then it is itself the one that is dropped and counted.

        Raises:
            StorageFullError: the disk is full, or the quota where it does not evict; nothing was changed.
            StorageError: the spool cannot be written.
        """
        manifest, size = scene.manifest, len(scene.payload)
        with self._lock, storage_errors(self.directory):
            if self._row(manifest.scene_id) is not None:
                return False
            if not self._reserve.keep():  # else the space that a delivery frees is taken before it can be written down
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            evicted = self._make_room(manifest, size, priority)
            if evicted is None:
                with self._database:
                    self._count_evicted({manifest.scene_id: size})
            else:
                self._add(scene, priority, evicted)
            listeners = tuple(self._listeners)
        if evicted is None or evicted:
            logger.warning("outbox full: scenes dropped", extra={"evicted": 1 if evicted is None else len(evicted)})
        if evicted is None:
            return False
        for listener in listeners:
            listener()
        return True

    def next_pending(self, exclude: Collection[str] = ()) -> SceneManifest | None:
        """The scene to send next, leaving out the ids in `exclude`; None where nothing waits."""
        query = "SELECT scene_id, manifest FROM scenes ORDER BY priority DESC, sequence LIMIT ?"
        with self._lock, storage_errors(self.directory):
            rows = self._database.execute(query, (len(exclude) + 1,)).fetchall()
        return next((_manifest(text) for scene_id, text in rows if scene_id not in exclude), None)

    def note_begun(self, scene_id: str) -> bool:
        """A server is about to be asked for a scene; False where an earlier process may have done so already."""
        query = "SELECT sequence FROM scenes WHERE scene_id = ?"
        with self._lock, storage_errors(self.directory):
            row = self._database.execute(query, (scene_id,)).fetchone()
            return row is not None and self._begun.is_first(row[0])

    def load(self, scene_id: str) -> EncodedScene:
        """A waiting scene with its payload, checked against its hash.

        Raises:
            NotFoundError: it does not wait here (delivered or evicted meanwhile).
            IntegrityError: the payload on disk is damaged or missing; the scene cannot be sent.
        """
        with self._lock, storage_errors(self.directory):
            row = self._row(scene_id)
            if row is None:
                raise NotFoundError(f"scene {scene_id[:12]} does not wait in {self.directory}")
            try:
                payload = (self._payloads / scene_id).read_bytes()
            except FileNotFoundError as error:
                raise IntegrityError(f"scene {scene_id[:12]}: its payload is gone from {self.directory}") from error
        return EncodedScene(manifest=_manifest(row[0]), payload=payload)

    def mark_delivered(self, scene_id: str) -> bool:
        """Forget a scene that the server has stored; False where it was not here any more."""
        with self._lock, storage_errors(self.directory):
            row = self._row(scene_id)
            if row is None:
                return False
            self._reserve.lend_to(lambda: self._deliver(scene_id))
            self._pending_bytes -= row[1]
            self._unlink((scene_id,))
            self._reserve.keep()
        return True

    def mark_dead(self, scene_id: str, reason: str) -> bool:
        """Keep a scene that will never be accepted aside in `dead/`; False where it was not here any more."""
        path = self._payloads / scene_id
        with self._lock, storage_errors(self.directory):
            row = self._row(scene_id)
            if row is None:
                return False
            manifest, size = row
            dropped = self._reserve.lend_to(lambda: self._give_up(scene_id, manifest, reason))
            self._pending_bytes -= size
            self._dead.take(scene_id, path)
            self._dead.drop(dropped)
            self._reserve.keep()
        return True

    def counts(self) -> OutboxCounts:
        """What waits, and what happened so far."""
        with self._lock, storage_errors(self.directory):
            pending = self._number("SELECT COUNT(*) FROM scenes")
            totals = dict(self._database.execute("SELECT name, value FROM counters").fetchall())
            names = ("delivered", "dead", "evicted", "dead_dropped", "evicted_bytes")
            return OutboxCounts(
                pending=pending, pending_bytes=self._pending_bytes, **{name: totals.get(name, 0) for name in names}
            )

    def report(self) -> VehicleReport:
        """The same as the server is told."""
        counts = self.counts()
        return VehicleReport(
            pending_scenes=counts.pending,
            pending_bytes=counts.pending_bytes,
            evicted_scenes=counts.evicted,
            evicted_bytes=counts.evicted_bytes,
            given_up_scenes=counts.dead,
            delivered_scenes=counts.delivered,
        )

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """Refused scenes, oldest first."""
        with self._lock, storage_errors(self.directory):
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

    def _make_room(self, manifest: SceneManifest, size: int, priority: Priority) -> dict[str, int] | None:
        """Sizes by id of the scenes that go for a new one; None where the new one has to go."""
        excess = self._pending_bytes + size - self.config.max_bytes
        if excess > 0 and self.config.when_full == "refuse":
            raise StorageFullError(
                f"outbox {self.directory}: frame {manifest.frame_id} needs {size} bytes, {self._pending_bytes} of "
                f"{self.config.max_bytes} are taken: wait for the link, or raise max_bytes"
            )
        return choose_evictions(self._database, excess, priority)

    def _add(self, scene: EncodedScene, priority: Priority, evicted: Mapping[str, int]) -> None:
        scene_id, size = scene.manifest.scene_id, len(scene.payload)
        try:
            write_durably(self._payloads / scene_id, scene.payload)
            with self._database:
                self._delete(evicted)
                self._count_evicted(evicted)
                self._database.execute(
                    "INSERT INTO scenes (scene_id, manifest, payload_bytes, priority) VALUES (?, ?, ?, ?)",
                    (scene_id, json.dumps(asdict(scene.manifest)), size, int(priority)),
                )
        except (OSError, sqlite3.Error):
            self._take_back(scene_id)
            raise
        self._pending_bytes += size - sum(evicted.values())
        self._unlink(evicted)

    def _deliver(self, scene_id: str) -> None:
        with self._database:
            self._delete((scene_id,))
            add_to_counter(self._database, "delivered", 1)

    def _give_up(self, scene_id: str, manifest: str, reason: str) -> list[str]:
        with self._database:
            self._delete((scene_id,))
            add_to_counter(self._database, "dead", 1)
            return self._dead.insert(scene_id, manifest, reason, self._payloads / scene_id)

    def _take_back(self, scene_id: str) -> None:
        """Remove the payload of a scene that was not added; what cannot be removed is swept at the next start."""
        with suppress(OSError, sqlite3.Error):
            if self._row(scene_id) is None:
                self._unlink((scene_id,))

    def _count_evicted(self, evicted: Mapping[str, int]) -> None:
        if evicted:
            add_to_counter(self._database, "evicted", len(evicted))
            add_to_counter(self._database, "evicted_bytes", sum(evicted.values()))

    def _delete(self, scene_ids: Collection[str]) -> None:
        self._database.executemany("DELETE FROM scenes WHERE scene_id = ?", [(each,) for each in scene_ids])

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

    def _row(self, scene_id: str) -> tuple[str, int] | None:
        """Manifest and payload bytes of a waiting scene."""
        query = "SELECT manifest, payload_bytes FROM scenes WHERE scene_id = ?"
        row: tuple[str, int] | None = self._database.execute(query, (scene_id,)).fetchone()
        return row

    def _number(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])


def _manifest(text: str) -> SceneManifest:
    return SceneManifest(**json.loads(text))
