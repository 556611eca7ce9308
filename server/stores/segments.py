"""Payloads appended to segments: one sync for all that come together, instead of one for each file and its folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from server.stores.placed_files import storage_errors, sync_directory
from server.stores.segment_file import HEADER_BYTES, MAGIC, Record, erase, header, record_at, records, write_at
from server.stores.segment_index import Place, SegmentIndex
from shared_models.errors import StorageError, UpcycleError

_SUFFIX, INDEX = ".segment", "index.sqlite"
SEGMENT_BYTES = 64 << 20  # a new one is begun behind that


@dataclass(slots=True, kw_only=True)
class _Open:
    """The segment that is written now; a shared lock on it keeps others from taking it away."""

    number: int
    descriptor: int
    end: int


class Segments:
    """The segments in a folder; several processes may use it, and each writes segments of its own.

    Safe to use from several threads. Calls raise StorageError where the disk fails.
    """

    def __init__(self, folder: Path, is_read_only: bool = False) -> None:
        """Open them. What a power cut or a kill took from the index is read from the segments again.

        Raises:
            StorageFullError: no space for the index.
        """
        self._folder, self._is_read_only = folder, is_read_only
        self._index = SegmentIndex(folder / INDEX, is_read_only)
        self._writing = threading.Lock()  # guards the two below
        self._open: _Open | None = None
        self._read_to: dict[int, int] = {}  # of segments that no index covers, for readers
        self._unindexed: dict[str, list[Place]] = {}
        if not is_read_only:
            self._recover()

    def append(self, new: Sequence[tuple[str, bytes]]) -> None:
        """Make payloads durable, each given with its SHA-256, all or none; such as are here already are left alone.

        Raises:
            StorageFullError: no space.
        """
        with self._writing, storage_errors(self._folder / "segment"):
            missing = {sha256: payload for sha256, payload in new if not self._is_sound(sha256)}
            if not missing:
                return
            segment = self._opened()
            found, parts, end = [], list[bytes](), segment.end
            for sha256, payload in missing.items():
                found.append(Record(offset=end, sha256=sha256, length=len(payload), is_live=True))
                parts += header(sha256, len(payload)), payload
                end = found[-1].end
            try:
                write_at(segment.descriptor, parts, segment.end)
                os.fdatasync(segment.descriptor)
                self._index.add(segment.number, found, end)
            except (OSError, UpcycleError):
                self._give_up(segment)  # nobody knows what lies behind its end now
                raise
            segment.end = end

    def has(self, sha256: str) -> bool:
        """Whether a payload with this hash is here."""
        return next(self._found(sha256), None) is not None

    def read(self, sha256: str) -> bytes | None:
        """The payload; None where it is not here.

        Raises:
            StorageError: it is damaged or cannot be read; the message names where it lies.
        """
        damaged = None
        for place in self._found(sha256):
            with suppress(FileNotFoundError), self._descriptor(place.segment, os.O_RDONLY) as descriptor:
                payload = os.pread(descriptor, place.length, place.offset + HEADER_BYTES)
                if hashlib.sha256(payload).hexdigest() == sha256:
                    return payload
                again = record_at(descriptor, place.offset)  # it may just have been removed
                damaged = place if again is not None and again.is_live else damaged
        if damaged is not None:
            where = f"{self._path(damaged.segment)}, byte {damaged.offset}"
            raise StorageError(f"{where}: payload {sha256[:12]} is damaged: check the disk, restore it from a backup")
        return None

    def remove(self, sha256: str) -> None:
        """Forget a payload and let its bytes go; nothing happens where there is none."""
        for place in self._index.places(sha256):
            with suppress(FileNotFoundError), self._descriptor(place.segment, os.O_RDWR) as descriptor:
                record = record_at(descriptor, place.offset)
                if record is not None and record.sha256 == sha256:
                    erase(descriptor, record)
            self._index.remove(sha256, place)
        self._take_away_dead()

    def names(self) -> set[str]:
        """The hashes of all payloads, as the index has them."""
        return self._index.names()

    def close(self) -> None:
        """Let go of the files."""
        with self._writing:
            if self._open is not None:
                os.close(self._open.descriptor)
            self._open = None
        self._index.close()

    def _found(self, sha256: str) -> Iterator[Place]:
        """Where the payload lies, as the segments themselves say."""
        places = self._index.places(sha256)
        if not places and self._is_read_only:
            self._read_unindexed()
            places = self._unindexed.get(sha256, [])
        yield from (place for place in places if self._is_there(sha256, place))

    def _is_there(self, sha256: str, place: Place) -> bool:
        with suppress(FileNotFoundError), self._descriptor(place.segment, os.O_RDONLY) as descriptor:
            record, size = record_at(descriptor, place.offset), os.fstat(descriptor).st_size
            return record is not None and record.is_live and record.sha256 == sha256 and record.end <= size
        return False

    def _is_sound(self, sha256: str) -> bool:
        try:
            return self.read(sha256) is not None
        except StorageError:
            return False  # damaged: it is written once more

    def _opened(self) -> _Open:
        if self._open is not None and self._open.end >= SEGMENT_BYTES:
            os.close(self._open.descriptor)
            self._open = None
        while self._open is None:
            self._open = self._begin(time.time_ns())
        return self._open

    def _begin(self, number: int) -> _Open | None:
        path = self._path(number)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except FileExistsError:
            return None  # another process's
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            write_at(descriptor, [MAGIC], 0)
            sync_directory(self._folder)
            # Before it was locked, another process that opened the store may have taken it for an empty one left over.
            is_there = _is_at(path, descriptor)
        except OSError:
            os.close(descriptor)
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        if is_there:
            return _Open(number=number, descriptor=descriptor, end=len(MAGIC))
        os.close(descriptor)
        return None

    def _give_up(self, segment: _Open) -> None:
        """Go on in another segment; what came behind the last sound record of this one is cut off if possible."""
        self._open = None
        with suppress(OSError):
            os.ftruncate(segment.descriptor, segment.end)
        os.close(segment.descriptor)
        if segment.end == len(MAGIC):
            with suppress(OSError):
                self._path(segment.number).unlink(missing_ok=True)

    def _recover(self) -> None:
        known, present = self._index.indexed_to(), set(self._numbers())
        for number in known.keys() - present:
            self._index.forget(number)
        for number in sorted(present):
            with storage_errors(self._path(number)), suppress(FileNotFoundError):
                self._read_again(number, known.get(number, 0))
        self._take_away_dead()

    def _read_again(self, number: int, start: int) -> None:
        with self._descriptor(number, os.O_RDWR) as descriptor:
            if os.fstat(descriptor).st_size == start:
                return
            os.fdatasync(descriptor)  # what the index names is durable
            found = list(records(descriptor, start))
            end = found[-1].end if found else max(start, len(MAGIC))
            self._index.add(number, [each for each in found if each.is_live], end)
            if _is_ours_alone(descriptor) and os.fstat(descriptor).st_size > end:
                os.ftruncate(descriptor, end)

    def _read_unindexed(self) -> None:
        known = self._index.indexed_to()
        for number in self._numbers():
            start = max(known.get(number, 0), self._read_to.get(number, 0))
            with suppress(FileNotFoundError), self._descriptor(number, os.O_RDONLY) as descriptor:
                for each in records(descriptor, start):
                    place = Place(segment=number, offset=each.offset, length=each.length)
                    self._unindexed.setdefault(each.sha256, []).append(place)
                    self._read_to[number] = each.end

    def _take_away_dead(self) -> None:
        for number in self._index.dead():
            try:
                with self._descriptor(number, os.O_RDWR) as descriptor:
                    if not _is_ours_alone(descriptor):
                        continue  # somebody writes it
                    self._path(number).unlink(missing_ok=True)
            except FileNotFoundError:
                pass
            self._index.forget(number)

    def _numbers(self) -> list[int]:
        with suppress(FileNotFoundError), storage_errors(self._folder, FileNotFoundError):
            names = [name.removesuffix(_SUFFIX) for name in os.listdir(self._folder) if name.endswith(_SUFFIX)]
            return [int(name, 16) for name in names if len(name) == 16]
        return []

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:016x}{_SUFFIX}"

    @contextmanager
    def _descriptor(self, number: int, flags: int) -> Iterator[int]:
        path = self._path(number)
        with storage_errors(path, FileNotFoundError):
            descriptor = os.open(path, flags | os.O_CLOEXEC)
            try:
                yield descriptor
            finally:
                os.close(descriptor)


def _is_ours_alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
            return False
        raise
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
