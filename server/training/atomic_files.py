"""Files that are there whole or not at all, whoever else writes them at the same time."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path

from shared_models.errors import StorageError, StorageFullError


def write_whole(path: Path, data: bytes, is_durable: bool = False) -> None:
    """Write `data` beside `path` and rename it there, so that a reader sees the old file or the new one.

    Folders that are missing are made.
    is_durable: file, name and new folders are on the disk when the call returns, also after a power cut. Otherwise
        nothing is synced: for what can be made again.

    Raises:
        StorageFullError: no space is left.
        StorageError: it cannot be written otherwise.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        missing = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        if is_durable:
            _sync(temporary)
        os.replace(temporary, path)
        if is_durable:
            for folder in (path.parent, *(new.parent for new in missing)):
                _sync(folder)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(f"{path}: no space left on this disk; free some") from error
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


def _sync(path: Path) -> None:
    """A file's content, or the names in a folder, reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
