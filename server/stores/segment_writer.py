"""The segment that a process writes: begun, appended to, and left where nobody knows what a failed write has done."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from server.stores.aligned_file import BLOCK, BlockBuffer, create_aligned, write_blocks
from server.stores.placed_files import storage_errors, sync_directory
from server.stores.segment_file import MAGIC, Record, filler, header
from server.stores.segment_index import SegmentIndex
from shared_models.errors import UpcycleError

SEGMENT_BYTES = 64 << 20  # a new one is begun behind that


def segment_path(folder: Path, number: int) -> Path:
    """Where the segment of that number lies."""
    return folder / f"{number:016x}.segment"


@dataclass(slots=True, kw_only=True)
class _Open:
    """The segment that is written now; a shared lock on it keeps others from taking it away."""

    number: int
    descriptor: int
    end: int


class SegmentWriter:
    """Appends to segments of its own; safe to use from several threads."""

    def __init__(self, folder: Path, index: SegmentIndex) -> None:
        self._folder, self._index = folder, index
        self._lock = threading.Lock()
        self._open: _Open | None = None
        self._buffer = BlockBuffer()  # takes no memory before it is written to

    def append(self, payloads: Mapping[str, bytes]) -> None:
        """Make payloads durable, by SHA-256, and index them; all or none.

        Raises:
            StorageFullError, StorageError: it could not be done.
        """
        with self._lock, storage_errors(self._folder / "segment"):
            self._append(payloads)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            opened, self._open = self._open, None
            if opened is not None:
                os.close(opened.descriptor)

    def _append(self, payloads: Mapping[str, bytes]) -> None:
        segment = self._opened()
        found, parts, end = [], list[bytes](), segment.end
        for sha256, payload in payloads.items():
            found.append(Record(offset=end, sha256=sha256, length=len(payload), is_live=True))
            parts += header(sha256, len(payload)), payload
            end = found[-1].end
        parts.append(filler(end))
        end += len(parts[-1])
        try:
            write_blocks(segment.descriptor, parts, segment.end, self._buffer)
            os.fdatasync(segment.descriptor)
            self._index.add(segment.number, found, end)
        except (OSError, UpcycleError):
            self._give_up(segment)  # nobody knows what lies behind its end now
            raise
        segment.end = end

    def _opened(self) -> _Open:
        if self._open is not None and self._open.end >= SEGMENT_BYTES:
            full, self._open = self._open, None
            os.close(full.descriptor)
        while self._open is None:
            self._open = self._begin(time.time_ns())
        return self._open

    def _begin(self, number: int) -> _Open | None:
        path = segment_path(self._folder, number)
        try:
            descriptor = create_aligned(path)
        except FileExistsError:
            return None  # another process's
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            write_blocks(descriptor, [MAGIC, filler(len(MAGIC))], 0, self._buffer)
            sync_directory(self._folder)
            # Before it was locked, another process that opened the store may have taken it for an empty one left over.
            is_there = _is_at(path, descriptor)
        except OSError:
            os.close(descriptor)
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        if is_there:
            return _Open(number=number, descriptor=descriptor, end=BLOCK)
        os.close(descriptor)
        return None

    def _give_up(self, segment: _Open) -> None:
        """Go on in another segment; what came behind the last sound record of this one, of nobody's, is cut off."""
        self._open = None
        with suppress(OSError):
            os.ftruncate(segment.descriptor, segment.end)
            os.fsync(segment.descriptor)
        os.close(segment.descriptor)
        if segment.end == BLOCK:
            with suppress(OSError):
                segment_path(self._folder, segment.number).unlink(missing_ok=True)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
