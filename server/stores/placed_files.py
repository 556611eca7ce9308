"""What files that have to be durable share: complete writes, synced folders, errors of the disk as this project's."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared_models.errors import StorageError, StorageFullError


def move_on(way: Path, target: Path) -> None:
    """Rename a durable file into its place; another user may have done so with the same payload. Raises OSError."""
    try:
        os.replace(way, target)
    except FileNotFoundError:
        if not target.is_file():
            raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(path: Path) -> None:
    """Make names that were added to a folder durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def storage_errors(path: Path, *let_through: type[OSError]) -> Iterator[None]:
    """Raise what the disk reports as an error of this project, except for errors of `let_through`."""
    try:
        yield
    except let_through:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(f"{path.parent}: no space left on the server's disk; try again later") from error
        raise StorageError(f"{path}: {error.strerror or error}: check the disk and its permissions") from error
