"""Scenes that the server will never take, kept aside for the operator: manifest, reason and, while it fits, payload."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from shared_models.records import SceneManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A scene that will not be sent again, why, and where its payload is; None where that had to go, or never was."""

    manifest: SceneManifest
    reason: str
    payload: Path | None = None


class DeadLetters:
    """The table `dead_letters` and the folder of its payloads, bounded; the outbox holds the lock and the database."""

    def __init__(self, folder: Path, database: sqlite3.Connection, max_letters: int, max_bytes: int) -> None:
        """Raises OSError, sqlite3.Error: as do all other methods."""
        self._folder, self._database = folder, database
        self._max_letters, self._max_bytes = max_letters, max_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()  # payloads that are kept, oldest first
        folder.mkdir(exist_ok=True)

    def insert(self, scene_id: str, manifest: str, reason: str) -> None:
        """Write the row, within the caller's transaction; `take` moves the payload after it."""
        self._database.execute("DELETE FROM dead_letters WHERE scene_id = ?", (scene_id,))
        self._database.execute(
            "INSERT INTO dead_letters (scene_id, manifest, reason) VALUES (?, ?, ?)", (scene_id, manifest, reason)
        )
        self._database.execute(
            "DELETE FROM dead_letters WHERE sequence <= (SELECT MAX(sequence) FROM dead_letters) - ?",
            (self._max_letters,),
        )

    def take(self, scene_id: str, path: Path) -> None:
        """Move a payload here from where it waited, and drop the oldest ones that do not fit any more."""
        try:
            size = path.stat().st_size
            os.replace(path, self._folder / scene_id)
        except FileNotFoundError:
            return
        self._sizes.pop(scene_id, None)
        self._sizes[scene_id] = size
        self._drop_excess()

    def repair(self, waiting: Path, pending: set[str]) -> None:
        """Put files and rows in agreement after a crash; `waiting` is the folder of scenes still to be sent."""
        known = self._scene_ids()
        for path in self._folder.iterdir():
            if path.name not in known:
                path.unlink()
        for scene_id in known:
            kept = self._folder / scene_id
            if scene_id not in pending and (waiting / scene_id).exists():
                os.replace(waiting / scene_id, kept)
            if kept.exists():
                self._sizes[scene_id] = kept.stat().st_size
        self._drop_excess()

    def letters(self) -> tuple[DeadLetter, ...]:
        """All that are kept, oldest first."""
        rows = self._database.execute("SELECT scene_id, manifest, reason FROM dead_letters ORDER BY sequence")
        return tuple(
            DeadLetter(
                manifest=SceneManifest(**json.loads(manifest)),
                reason=reason,
                payload=self._folder / scene_id if scene_id in self._sizes else None,
            )
            for scene_id, manifest, reason in rows.fetchall()
        )

    def _scene_ids(self) -> list[str]:
        return [row[0] for row in self._database.execute("SELECT scene_id FROM dead_letters ORDER BY sequence")]

    def _drop_excess(self) -> None:
        dropped = 0
        while len(self._sizes) > self._max_letters or sum(self._sizes.values()) > self._max_bytes:
            scene_id, _ = self._sizes.popitem(last=False)
            (self._folder / scene_id).unlink(missing_ok=True)
            dropped += 1
        if dropped:
            with self._database:
                self._database.execute(
                    "INSERT INTO counters VALUES ('dead_dropped', ?) "
                    "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                    (dropped,),
                )
