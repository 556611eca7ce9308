"""Payloads on one machine's disk: those that came in pieces as files named by their SHA-256, the others in segments.

    ROOT/segments/...             payloads that came whole, many to a file; server/stores/segments.py
    ROOT/arrived/abcd...          complete and durable: synced, renamed to here, folder synced
    ROOT/payloads/ab/abcd...      the same, a moment later: renamed, which no power cut can do by halves
    ROOT/payloads/ab/cd/abcd...   the same, from earlier builds; still read and removed, nothing is added
    ROOT/partial/<scene id>       half-sent; survives a killed process, and after a power cut the hash tells

All lie in one file system, so that renaming is atomic. Files pass through one folder, so that no other has to be synced
for them. After a power cut some may be found there again: they are read there, and moved on when the store is opened.
All folders are made and synced then: made one by one, each would cost more.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from server.stores.placed_files import move_on, storage_errors, sync_directory, write_all
from server.stores.segments import Segments
from server.stores.store import HeldPartial, NewPayload, PartialPayload, PayloadStore, to_drop
from shared_models.errors import NotFoundError, StorageError, StorageFullError, UpcycleError
from shared_models.records import check

_FOLDERS = tuple(f"{number:02x}" for number in range(256))


class FilePayloadStore(PayloadStore):
    """Content-addressed files below `root`, all in one file system."""

    puts_together = 32

    def __init__(self, root: Path, is_read_only: bool = False) -> None:
        """Make the folders, unless `is_read_only`: then nothing may be added.

        Raises:
            StorageError: they cannot be made.
        """
        self.root = root
        self._payloads, self._partials, self._arrived = root / "payloads", root / "partial", root / "arrived"
        self._folders = {name: self._payloads / name for name in _FOLDERS}
        self._in_use: set[str] = set()  # keys of open partials, guarded by the lock
        self._lock = threading.Lock()
        if not is_read_only:
            self._make_folders()
        self._is_read_only = is_read_only
        self._opened: Segments | None = None
        self._opening = threading.Lock()

    def _segments(self) -> Segments:
        """Opened when they are needed first: who only adds to the log of access does not look through them."""
        with self._opening:
            if self._opened is None:
                self._opened = Segments(self.root / "segments", self._is_read_only)
            return self._opened

    def recover(self) -> None:
        self._segments()

    def _make_folders(self) -> None:
        with storage_errors(self.root):
            self._payloads.mkdir(parents=True, exist_ok=True)
            self._partials.mkdir(exist_ok=True)
            self._arrived.mkdir(exist_ok=True)
            (self.root / "segments").mkdir(exist_ok=True)
            for name in sorted(set(_FOLDERS).difference(os.listdir(self._payloads))):
                (self._payloads / name).mkdir(exist_ok=True)
            sync_directory(self._payloads)  # also where all were there: a killed process may not have come so far
            sync_directory(self.root)
            for name in os.listdir(self._arrived):
                os.replace(self._arrived / name, self._paths(name)[0])

    def path(self, sha256: str) -> Path:
        """Where the payload with this hash lies, or would lie."""
        paths = self._paths(sha256)
        return next((path for path in paths if path.is_file()), paths[0])

    def _paths(self, sha256: str) -> tuple[Path, Path, Path]:
        """Where a payload belongs, where it waits after a power cut, and where older servers put it."""
        check.sha256_hex("payload", "sha256", sha256)
        folder = self._folders[sha256[:2]]
        return folder / sha256, self._arrived / sha256, folder / sha256[2:4] / sha256

    def open_partial(self, key: str) -> PartialPayload:
        check.sha256_hex("partial payload", "key", key)
        with self._lock:  # not while drop_partials is about to unlink it
            self._in_use.add(key)
        try:
            with storage_errors(self._partials / key):
                return _FilePartial(self, self._partials / key)
        except (StorageError, StorageFullError):
            self.let_go(key)
            raise

    def put_together(self, new: Sequence[NewPayload]) -> list[UpcycleError | None]:
        try:
            self._segments().append([(each.sha256, each.payload) for each in new])
            for each in new:
                partial = self._partials / each.key
                with storage_errors(partial):
                    partial.unlink(missing_ok=True)
        except (StorageError, StorageFullError) as error:
            # What has no room together may have some one by one.
            return [error] if len(new) == 1 else [self.put_together([each])[0] for each in new]
        return [None] * len(new)

    def let_go(self, key: str) -> None:
        """Nobody uses the partial under `key` any more."""
        with self._lock:
            self._in_use.discard(key)

    def partial_bytes(self, key: str) -> int:
        check.sha256_hex("partial payload", "key", key)
        with suppress(FileNotFoundError), storage_errors(self._partials / key, FileNotFoundError):
            return (self._partials / key).stat().st_size
        return 0

    def drop_partials(
        self, older_than_s: float, now_s: float, keep_bytes: int | None = None, keep_count: int | None = None
    ) -> int:
        dropped = 0
        with storage_errors(self._partials):
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
        try:
            return self._read_file(sha256)
        except (NotFoundError, StorageError):
            if (payload := self._segments().read(sha256)) is not None:
                return payload
            raise

    def _read_file(self, sha256: str) -> bytes:
        path, payload = self._found(sha256)
        actual = hashlib.sha256(payload).hexdigest()
        if actual != sha256:
            raise StorageError(
                f"{path}: damaged, its SHA-256 is {actual[:12]}...: check the disk, restore the file from a backup"
            )
        return payload

    def _found(self, sha256: str) -> tuple[Path, bytes]:
        paths = self._paths(sha256)
        for path in (*paths, paths[0]):  # where it belongs twice: it may be moved to there just now
            with suppress(FileNotFoundError), storage_errors(path, FileNotFoundError):
                return path, path.read_bytes()
        raise NotFoundError(f"payload {sha256[:12]} is not in {self.root}")

    def has(self, sha256: str) -> bool:
        return any(path.is_file() for path in self._paths(sha256)) or self._segments().has(sha256)

    def names(self) -> set[str]:
        """The hashes of all payloads that are here."""
        with storage_errors(self.root):
            found = (path for folder in (self._payloads, self._arrived) for path in folder.rglob("*"))
            files = {path.name for path in found if path.is_file()}
        return files | self._segments().names()

    def remove(self, sha256: str) -> None:
        for path in self._paths(sha256):
            with storage_errors(path):
                path.unlink(missing_ok=True)
        self._segments().remove(sha256)

    def close(self) -> None:
        with self._opening:
            if self._opened is not None:
                self._opened.close()

    @contextmanager
    def hold(self, sha256: str, is_alone: bool = False) -> Iterator[None]:
        # A lock on the payload's folder, which is never removed: it ends with the process, and others see it, too.
        check.sha256_hex("payload", "sha256", sha256)
        folder = self._folders[sha256[:2]]
        with storage_errors(folder):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with storage_errors(folder):
                fcntl.flock(descriptor, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def place(self, source: Path, sha256: str) -> None:
        """Rename the synced file `source` into its final place, durably."""
        target, way, _ = self._paths(sha256)
        os.replace(source, way)
        sync_directory(self._arrived)
        move_on(way, target)


class _FilePartial(PartialPayload):
    def __init__(self, store: FilePayloadStore, path: Path) -> None:
        self._store, self._path = store, path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            self._size = os.fstat(self._descriptor).st_size
        except OSError:
            os.close(self._descriptor)
            raise
        self._hashed: tuple[int, str] | None = None  # size and SHA-256 when it was asked for last

    @property
    def size(self) -> int:
        return self._size

    @property
    def sha256(self) -> str:
        # Read back, and at the end only: whoever appends has to wait for the write, but not for the hash.
        if self._hashed is None or self._hashed[0] != self._size:
            with storage_errors(self._path), open(self._path, "rb", buffering=0) as file:
                self._hashed = self._size, hashlib.file_digest(file, "sha256").hexdigest()
        return self._hashed[1]

    def append(self, data: bytes) -> None:
        with self._discard_on_error():
            write_all(self._descriptor, data)
        self._size += len(data)

    def read(self) -> bytes:
        with storage_errors(self._path):
            payload = self._path.read_bytes()
        self._hashed = len(payload), hashlib.sha256(payload).hexdigest()  # who reads it asks for that too
        return payload

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
            with storage_errors(self._path):
                yield
        except (StorageError, StorageFullError):
            self.discard()
            raise
