"""A sign of life in the vehicle's state folder, for health checks from outside the process."""

from __future__ import annotations

import os
from pathlib import Path

from shared_models.errors import NotFoundError, StorageError

FILE_NAME = "heartbeat"


def beat(state: Path, now_s: float) -> None:
    """Say that the drive goes on; `now_s` in seconds since the epoch.

    Raises:
        StorageError: the state folder cannot be written.
    """
    path = state / FILE_NAME
    try:
        state.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (now_s, now_s))
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}; check space and permissions") from error


def age_s(state: Path, now_s: float) -> float:
    """Seconds since the last sign of life.

    Raises:
        NotFoundError: there has been none.
    """
    path = state / FILE_NAME
    try:
        return now_s - path.stat().st_mtime
    except OSError as error:
        raise NotFoundError(f"{path}: no sign of life of a vehicle: {error.strerror}") from error
