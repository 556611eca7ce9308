"""Logs what commands on this machine read in a data folder that they open read-only."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from types import TracebackType

from server.repositories.access_log import Action, Detail, Event, local_actor
from server.repositories.archive import SceneArchive, open_archive
from shared_models.errors import StorageError, StorageFullError

logger = logging.getLogger(__name__)


class ReadRecorder:
    """Adds to the log of a data folder, where this process may write to it; where not, it says so once and goes on.

    Whoever can read the files could do so without this program: refusing would protect nothing. Safe to use from
    several threads.
    """

    def __init__(self, directory: Path, role: str = "user") -> None:
        """role: what the log calls whoever reads; their name is this process's user."""
        self._directory, self._actor = directory, local_actor(role)
        self._archive: SceneArchive | None = None
        self._has_failed = False
        self._lock = threading.Lock()

    def record(self, action: Action, subject: str = "", detail: Detail | None = None) -> None:
        """Log one reading, before what was read is shown."""
        event = Event(at_ns=time.time_ns(), actor=self._actor, action=action, subject=subject, detail=detail or {})
        with self._lock:
            if self._has_failed:
                return
            try:
                self._archive = self._archive or open_archive(self._directory, is_new_allowed=True)
                self._archive.catalogue.log.append([event])
            except (StorageError, StorageFullError) as error:
                self._has_failed = True
                logger.warning("this reading is not in the log of access: %s", error)

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            if self._archive is not None:
                self._archive.close()
            self._archive = None

    def __enter__(self) -> ReadRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def record_read(directory: Path, action: Action, subject: str = "", detail: Detail | None = None) -> None:
    """Log one reading by a command on this machine, if that can be written."""
    with ReadRecorder(directory) as recorder:
        recorder.record(action, subject, detail)
