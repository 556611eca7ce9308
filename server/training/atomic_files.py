"""Files that are there whole or not at all, whoever else writes them at the same time."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path

from shared_models.errors import StorageError, StorageFullError


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` beside `path` and rename it there, so that a reader sees the old file or the new one.

    Folders that are missing are made. Not synced to the disk: for what can be made again.

    Raises:
        StorageFullError: no space is left.
        StorageError: it cannot be written otherwise.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(f"{path}: no space left on this disk; free some") from error
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error
