"""Payloads as files named by their SHA-256, in 256 folders.

    ROOT/payloads/ab/abcd...      complete and durable: synced, renamed into place, folder synced
    ROOT/payloads/ab/cd/abcd...   the same, from earlier builds; still read and removed, nothing is added
    ROOT/partial/<scene id>       half-sent; survives a killed process, and after a power cut the hash tells

Both lie in one file system, so that renaming is atomic. All folders are made and synced when the store is opened: made
one by one, each would cost a payload two more syncs.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from server.stores.store import HeldPartial, PartialPayload, PayloadStore, to_drop
from shared_models.errors import NotFoundError, StorageError, StorageFullError
from shared_models.records import check

_READ_BYTES = 1 << 20
_FOLDERS = tuple(f"{number:02x}" for number in range(256))


class FilePayloadStore(PayloadStore):
    """Content-addressed files below `root`, all in one file system."""

    def __init__(self, root: Path, is_read_only: bool = False) -> None:
        """Make the folders, unless `is_read_only`: then nothing may be added.

        Raises:
            StorageError: they cannot be made.
        """
        self.root = root
        self._payloads, self._partials = root / "payloads", root / "partial"
        self._in_use: set[str] = set()  # keys of open partials, guarded by the lock
        self._lock = threading.Lock()
        if is_read_only:
            return
        with _storage_errors(root):
            self._payloads.mkdir(parents=True, exist_ok=True)
            self._partials.mkdir(exist_ok=True)
            for name in sorted(set(_FOLDERS).difference(os.listdir(self._payloads))):
                (self._payloads / name).mkdir(exist_ok=True)
            sync_directory(self._payloads)  # also where all were there: a killed process may not have come so far
            sync_directory(root)

    def path(self, sha256: str) -> Path:
        """Where the payload with this hash lies, or would lie."""
        new, old = self._paths(sha256)
        return old if old.is_file() and not new.is_file() else new

    def _paths(self, sha256: str) -> tuple[Path, Path]:
        """Where a payload belongs, and where older servers put it."""
        check.sha256_hex("payload", "sha256", sha256)
        folder = self._payloads / sha256[:2]
        return folder / sha256, folder / sha256[2:4] / sha256

    def open_partial(self, key: str) -> PartialPayload:
        check.sha256_hex("partial payload", "key", key)
        with self._lock:  # not while drop_partials is about to unlink it
            self._in_use.add(key)
        try:
            with _storage_errors(self._partials / key):
                return _FilePartial(self, self._partials / key)
        except (StorageError, StorageFullError):
            self.let_go(key)
            raise

    def let_go(self, key: str) -> None:
        """Nobody uses the partial under `key` any more."""
        with self._lock:
            self._in_use.discard(key)

    def partial_bytes(self, key: str) -> int:
        check.sha256_hex("partial payload", "key", key)
        with suppress(FileNotFoundError), _storage_errors(self._partials / key, FileNotFoundError):
            return (self._partials / key).stat().st_size
        return 0

    def drop_partials(
        self, older_than_s: float, now_s: float, keep_bytes: int | None = None, keep_count: int | None = None
    ) -> int:
        dropped = 0
        with _storage_errors(self._partials):
            held = list(self._held())
            with self._lock:
                in_use = frozenset(self._in_use)
            for key in to_drop(held, in_use, older_than_s, now_s, keep_bytes, keep_count):
                with self._lock:
                    if key not in self._in_use:  # opened meanwhile
                        (self._partials / key).unlink(missing_ok=True)
                        dropped += 1
        return dropped

    def _held(self) -> Iterator[HeldPartial]:
        for path in self._partials.iterdir():
            with suppress(FileNotFoundError):
                status = path.stat()
                yield HeldPartial(key=path.name, size=status.st_size, changed_s=status.st_mtime)

    def read(self, sha256: str) -> bytes:
        path = self.path(sha256)
        try:
            with _storage_errors(path, FileNotFoundError):
                payload = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(f"payload {sha256[:12]} is not in {self.root}") from error
        actual = hashlib.sha256(payload).hexdigest()
        if actual != sha256:
            raise StorageError(
                f"{path}: damaged, its SHA-256 is {actual[:12]}...: check the disk, restore the file from a backup"
            )
        return payload

    def has(self, sha256: str) -> bool:
        return any(path.is_file() for path in self._paths(sha256))

    def remove(self, sha256: str) -> None:
        for path in self._paths(sha256):
            with _storage_errors(path):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        pass

    @contextmanager
    def hold(self, sha256: str, is_alone: bool = False) -> Iterator[None]:
        # A lock on the payload's folder, which is never removed: it ends with the process, and others see it, too.
        folder = self._paths(sha256)[0].parent
        with _storage_errors(folder):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _storage_errors(folder):
                fcntl.flock(descriptor, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def place(self, source: Path, sha256: str) -> None:
        """Rename the synced file `source` into its final place, durably."""
        target, _ = self._paths(sha256)
        os.replace(source, target)
        sync_directory(target.parent)


class _FilePartial(PartialPayload):
    def __init__(self, store: FilePayloadStore, path: Path) -> None:
        self._store, self._path = store, path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._hash = hashlib.sha256()
        self._size = 0
        try:
            while data := os.read(self._descriptor, _READ_BYTES):
                self._hash.update(data)
                self._size += len(data)
        except OSError:
            os.close(self._descriptor)
            raise

    @property
    def size(self) -> int:
        return self._size

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def append(self, data: bytes) -> None:
        with self._discard_on_error():
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        self._hash.update(data)
        self._size += len(data)

    def read(self) -> bytes:
        with _storage_errors(self._path):
            return self._path.read_bytes()

    def commit(self) -> str:
        with self._discard_on_error():
            os.fsync(self._descriptor)
            self._store.place(self._path, self.sha256)
        self.close()
        return self.sha256

    def discard(self) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._store.let_go(self._path.name)
        self._descriptor = -1

    @contextmanager
    def _discard_on_error(self) -> Iterator[None]:
        # After a failed write or sync nobody knows what the file holds, so the sender starts again from 0.
        try:
            with _storage_errors(self._path):
                yield
        except (StorageError, StorageFullError):
            self.discard()
            raise


def sync_directory(path: Path) -> None:
    """Make names that were added to a folder durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _storage_errors(path: Path, *let_through: type[OSError]) -> Iterator[None]:
    try:
        yield
    except let_through:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(f"{path.parent}: no space left on the server's disk; try again later") from error
        raise StorageError(f"{path}: {error.strerror or error}: check the disk and its permissions") from error
