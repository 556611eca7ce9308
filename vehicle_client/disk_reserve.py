"""Space put aside for the moment when a disk is full: making room on it needs some itself."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")
SIZE_BYTES = 256 << 10  # SQLite's journal needs some pages for each transaction, its file of shared memory 32 KiB


def is_disk_full(error: Exception) -> bool:
    """Whether the file system or SQLite says that no space is left."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, sqlite3.Error) and "full" in str(error)


class DiskReserve:
    """A file whose only use is to be deleted when nothing else can be written."""

    def __init__(self, path: Path, size_bytes: int = SIZE_BYTES) -> None:
        self._path, self._size_bytes = path, size_bytes

    def keep(self) -> bool:
        """Make the file where it is missing; False where there is no room. Not synced, for nothing depends on it."""
        try:
            if self._path.exists():
                return True
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size_bytes)
            except OSError:
                self._path.unlink(missing_ok=True)
                raise
            finally:
                os.close(descriptor)
        except OSError:
            return False
        return True

    def spend(self) -> bool:
        """Delete the file; False where there was none."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True

    def lend_to(self, work: Callable[[], _T]) -> _T:
        """The result of `work`, done again with the reserve's space where the disk is full.

        For work that makes room; it must leave nothing half done when it fails. Raises what `work` raises.
        """
        try:
            return work()
        except (OSError, sqlite3.Error) as error:
            if not is_disk_full(error) or not self.spend():
                raise
        return work()
