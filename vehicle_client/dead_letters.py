"""Scenes that the server will never take, kept aside for the operator: manifest, reason and, while it fits, payload."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from shared_models.records import SceneManifest
from vehicle_client.durable import sync_directory
from vehicle_client.outbox_database import add_to_counter


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A scene that will not be sent again, why, and where its payload is; None where that had to go, or never was."""

    manifest: SceneManifest
    reason: str
    payload: Path | None = None


class DeadLetters:
    """The table `dead_letters` and the folder of its payloads, bounded; the outbox holds the lock and the database.

    The table says which payloads are kept (`payload_bytes`, NULL: none), and the folder follows it: what is dropped is
    counted in the transaction that decides so, and its file goes afterwards, at the next start at the latest.
    """

    def __init__(self, folder: Path, database: sqlite3.Connection, max_letters: int, max_bytes: int) -> None:
        """All methods raise OSError and sqlite3.Error."""
        self._folder, self._database = folder, database
        self._max_letters, self._max_bytes = max_letters, max_bytes

    def insert(self, scene_id: str, manifest: str, reason: str, payload: Path) -> list[str]:
        """Write the row, within the caller's transaction; the ids for `drop`, to be called after `take`."""
        size = payload.stat().st_size if payload.exists() else None
        self._database.execute("DELETE FROM dead_letters WHERE scene_id = ?", (scene_id,))
        self._database.execute(
            "INSERT INTO dead_letters (scene_id, manifest, reason, payload_bytes) VALUES (?, ?, ?, ?)",
            (scene_id, manifest, reason, size),
        )
        return self._choose_drops()

    def take(self, scene_id: str, path: Path) -> None:
        """Move a payload here from where it waited; nothing happens where it is not there."""
        try:
            os.replace(path, self._folder / scene_id)
        except FileNotFoundError:
            return
        sync_directory(self._folder)

    def drop(self, scene_ids: list[str]) -> None:
        """Remove payloads that the table does not name any more."""
        for scene_id in scene_ids:
            (self._folder / scene_id).unlink(missing_ok=True)

    def repair(self, waiting: Path, pending: set[str]) -> None:
        """Put files and rows in agreement after a crash; `waiting` is the folder of scenes still to be sent."""
        with self._database:
            self._choose_drops()  # limits may have become smaller
        kept = {scene_id for scene_id, _, _ in self._kept()}
        for scene_id in kept - pending:
            self.take(scene_id, waiting / scene_id)
        found = {path.name for path in self._folder.iterdir()}
        self.drop(sorted(found - kept))
        lost = [(scene_id,) for scene_id in sorted(kept - found)]
        if lost:
            with self._database:
                self._database.executemany("UPDATE dead_letters SET payload_bytes = NULL WHERE scene_id = ?", lost)

    def letters(self) -> tuple[DeadLetter, ...]:
        """All that are kept, oldest first."""
        query = "SELECT scene_id, manifest, reason, payload_bytes FROM dead_letters ORDER BY sequence"
        return tuple(
            DeadLetter(
                manifest=SceneManifest(**json.loads(manifest)),
                reason=reason,
                payload=None if payload_bytes is None else self._folder / scene_id,
            )
            for scene_id, manifest, reason, payload_bytes in self._database.execute(query).fetchall()
        )

    def _choose_drops(self) -> list[str]:
        """Take rows and payloads beyond the limits out of the table, oldest first, and count the payloads."""
        kept = self._kept()
        newest = self._database.execute(
            "SELECT MIN(sequence) FROM (SELECT sequence FROM dead_letters ORDER BY sequence DESC LIMIT ?)",
            (self._max_letters,),
        ).fetchone()[0]
        total, dropped = sum(size for _, _, size in kept), []
        for scene_id, sequence, size in kept:
            if sequence < newest or (size > 0 and total > self._max_bytes):
                dropped.append(scene_id)
                total -= size
        self._database.execute("DELETE FROM dead_letters WHERE sequence < ?", (newest,))
        if dropped:
            self._database.executemany(
                "UPDATE dead_letters SET payload_bytes = NULL WHERE scene_id = ?", [(each,) for each in dropped]
            )
            add_to_counter(self._database, "dead_dropped", len(dropped))
        return dropped

    def _kept(self) -> list[tuple[str, int, int]]:
        """Id, number and size of the payloads that are kept, oldest first."""
        columns = "scene_id, sequence, payload_bytes"
        query = f"SELECT {columns} FROM dead_letters WHERE payload_bytes IS NOT NULL ORDER BY sequence"
        return self._database.execute(query).fetchall()
