"""New files that are durable under their final names: written, synced, renamed, folder synced; several at a time.

Together they cost less than one by one: the folder that all of them come to first is synced once.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from shared_models.errors import StorageError, StorageFullError


@dataclass(slots=True, kw_only=True)
class NewFile:
    """What `begin_writing` has begun: to be renamed from `source` to `way` and on to `target`, in the same file system.

    descriptor: of the open file; -1 once it is closed. error: why it could not be made durable.
    """

    descriptor: int
    source: Path
    way: Path
    target: Path
    error: StorageError | StorageFullError | None = None

    def attempt(self, step: Callable[[NewFile], None]) -> None:
        """Take one step unless an earlier one has failed; what fails leaves no `source` behind."""
        if self.error is not None:
            return
        try:
            with storage_errors(self.source):
                step(self)
        except (StorageError, StorageFullError) as error:
            self.error = error
            with suppress(OSError):
                _close(self)
            with suppress(OSError):
                self.source.unlink(missing_ok=True)


def begin_writing(path: Path, data: bytes) -> int:
    """Write `data` to the file `path`, made anew; its open descriptor. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        write_all(descriptor, data)
    except OSError:
        os.close(descriptor)
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise
    return descriptor


def place_together(files: Sequence[NewFile]) -> None:
    """Make them durable, under their final names or on the way there; of each that could not be, `error` is set.

    All have their `way` in the same folder.
    """
    for step in (_sync, _rename):
        for each in files:
            each.attempt(step)
    try:
        for folder in {each.way.parent for each in files}:
            with storage_errors(folder):
                sync_directory(folder)
    except (StorageError, StorageFullError) as error:
        for each in files:
            each.error = each.error or error
    for each in files:
        each.attempt(_move_on)


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


def _sync(file: NewFile) -> None:
    os.fsync(file.descriptor)
    _close(file)


def _rename(file: NewFile) -> None:
    os.replace(file.source, file.way)


def _move_on(file: NewFile) -> None:
    move_on(file.way, file.target)


def _close(file: NewFile) -> None:
    if file.descriptor >= 0:
        descriptor, file.descriptor = file.descriptor, -1
        os.close(descriptor)
