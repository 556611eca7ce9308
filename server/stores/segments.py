"""Payloads appended to segments: one sync for all that come together, instead of one for each file and its folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from server.stores.placed_files import storage_errors
from server.stores.segment_file import (
    HEADER_BYTES,
    MAGIC,
    Record,
    erase,
    is_gone,
    is_segment,
    is_sound,
    read_at,
    record_at,
    records,
)
from server.stores.segment_index import Place, SegmentIndex
from server.stores.segment_writer import SegmentWriter, segment_path
from shared_models.errors import StorageError

logger = logging.getLogger(__name__)

INDEX = "index.sqlite"
MOST_TOGETHER = 256  # payloads of one sync; of a torn end no more than these can be damaged
_NAME = re.compile(r"([0-7][0-9a-f]{15})\.segment")


class Segments:
    """The segments in a folder; several processes may use it, and each writes segments of its own.

    A whole payload in a segment of an earlier process is never moved or cut off, only erased where it is removed. Safe
    to use from several threads. Calls raise StorageError where the disk fails.
    """

    def __init__(self, folder: Path, is_read_only: bool = False) -> None:
        """Open them. What a power cut or a kill took from the index is read from the segments again.

        Raises:
            StorageFullError: no space for the index.
        """
        self._folder, self._is_read_only = folder, is_read_only
        self._index = SegmentIndex(folder / INDEX, is_read_only)
        self._writing = threading.Lock()  # the same payload is not written by two threads
        self._writer = SegmentWriter(folder, self._index)
        self._reading = threading.Lock()  # guards the two below: what no index covers, for readers
        self._read_to: dict[int, int] = {}
        self._unindexed: dict[str, list[Place]] = {}
        if not is_read_only:
            self._recover()

    def append(self, new: Sequence[tuple[str, bytes]]) -> None:
        """Make payloads durable, each given with its SHA-256, all or none; such as are here already are left alone.

        Raises:
            StorageFullError: no space.
        """
        for start in range(0, len(new), MOST_TOGETHER):
            with self._writing:
                part = new[start : start + MOST_TOGETHER]
                missing = {sha256: payload for sha256, payload in part if not self._is_here(sha256)}
                if missing:
                    self._writer.append(missing)

    def has(self, sha256: str) -> bool:
        """Whether a payload with this hash is here."""
        return next(self._found(sha256), None) is not None

    def read(self, sha256: str) -> bytes | None:
        """The payload; None where it is not here.

        Raises:
            StorageError: it is damaged or cannot be read; the message names where it lies.
        """
        problem: StorageError | None = None
        for place in self._found(sha256):
            try:
                with suppress(FileNotFoundError), self._descriptor(place.segment, os.O_RDONLY) as descriptor:
                    payload = read_at(descriptor, place.length, place.offset + HEADER_BYTES)
                    if hashlib.sha256(payload).hexdigest() == sha256:
                        return payload
                    again = record_at(descriptor, place.offset)  # it may just have been removed
                    if again is not None and again.is_live:
                        problem = self._damaged(sha256, place)
            except StorageError as error:
                problem = error  # another copy may be sound
        if problem is not None:
            raise problem
        return None

    def remove(self, sha256: str) -> None:
        """Forget a payload and let its bytes go; nothing happens where there is none. May be done again."""
        for place in self._index.places(sha256):
            with suppress(FileNotFoundError), self._descriptor(place.segment, os.O_RDWR) as descriptor:
                there, size = record_at(descriptor, place.offset), os.fstat(descriptor).st_size
                record = Record(offset=place.offset, sha256=sha256, length=place.length, is_live=True)
                # Another record there: the index is older than the segment. None: the header is damaged.
                if (there is None or there.sha256 == sha256) and record.end <= size:
                    erase(descriptor, record)
            self._index.remove(sha256, place)
        self._take_away_dead()

    def names(self) -> set[str]:
        """The hashes of all payloads."""
        if self._is_read_only:
            self._read_unindexed()
        return self._index.names() | {name for name in list(self._unindexed) if self.has(name)}

    def close(self) -> None:
        """Let go of the files."""
        self._writer.close()
        self._index.close()

    def _is_here(self, sha256: str) -> bool:
        try:
            return self.read(sha256) is not None
        except StorageError:
            return False  # damaged: it is written once more

    def _found(self, sha256: str) -> Iterator[Place]:
        """Where the payload lies, as the segments themselves say."""
        places = list(self._index.places(sha256))
        yield from (place for place in places if self._is_there(sha256, place))
        if self._is_read_only:
            self._read_unindexed()
            more = [place for place in self._unindexed.get(sha256, ()) if place not in places]
            yield from (place for place in more if self._is_there(sha256, place))

    def _is_there(self, sha256: str, place: Place) -> bool:
        with suppress(FileNotFoundError), self._descriptor(place.segment, os.O_RDONLY) as descriptor:
            record, size = record_at(descriptor, place.offset), os.fstat(descriptor).st_size
            if record is None:  # a damaged header: the payload may be whole, and who reads it looks
                return place.offset + HEADER_BYTES + place.length <= size
            return record.is_live and record.sha256 == sha256 and record.end <= size
        return False

    def _damaged(self, sha256: str, place: Place) -> StorageError:
        where = f"{self._path(place.segment)}, byte {place.offset}"
        return StorageError(f"{where}: payload {sha256[:12]} is damaged: check the disk, restore it from a backup")

    def _recover(self) -> None:
        known, present = self._index.indexed_to(), set(self._numbers())
        for number in known.keys() - present:
            self._index.forget(number)
        for number in sorted(present):
            with suppress(FileNotFoundError):
                self._read_again(number, known.get(number, 0))
        self._take_away_dead()

    def _read_again(self, number: int, start: int) -> None:
        """Index what is behind `start`; let go what a power cut tore there."""
        with self._descriptor(number, os.O_RDWR) as descriptor:
            if os.fstat(descriptor).st_size == start:
                return
            if not is_segment(descriptor):
                logger.warning("%s is no segment that this version reads: it is left as it is", self._path(number))
                return
            is_alone = _is_ours_alone(descriptor)  # what is still being written is neither torn nor complete
            found = list(records(descriptor, start))
            # Of the records before these all were synced before the next came.
            last = [each for each in found[-MOST_TOGETHER - 1 :] if each.is_live]  # and what fills up behind them
            torn = {each for each in last if not is_sound(descriptor, each)}
            for each in found:
                if (not each.is_live and not is_gone(descriptor, each)) or (is_alone and each in torn):
                    erase(descriptor, each)  # or its removal may have been cut off
            end = found[-1].end if found else max(start, len(MAGIC))
            if is_alone and record_at(descriptor, end) is not None:
                os.ftruncate(descriptor, end)  # the begin of a payload that never came to its end
            os.fdatasync(descriptor)  # what the index names is durable
            self._index.add(number, [each for each in found if each.is_live and each not in torn], end)

    def _read_unindexed(self) -> None:
        known = self._index.indexed_to()
        with self._reading:
            for number in self._numbers():
                start = max(known.get(number, 0), self._read_to.get(number, 0))
                with suppress(FileNotFoundError), self._descriptor(number, os.O_RDONLY) as descriptor:
                    size = os.fstat(descriptor).st_size
                    if size <= start:
                        continue
                    for each in records(descriptor, start):
                        place = Place(segment=number, offset=each.offset, length=each.length)
                        self._unindexed.setdefault(each.sha256, []).append(place)
                        self._read_to[number] = each.end

    def _take_away_dead(self) -> None:
        for number in self._index.dead():
            try:
                with self._descriptor(number, os.O_RDWR) as descriptor:
                    # Alone with it, look again: another thread or process may have added to it since.
                    if not _is_ours_alone(descriptor) or not _is_empty(descriptor):
                        continue
                    self._path(number).unlink(missing_ok=True)
            except FileNotFoundError:
                pass
            self._index.forget(number)

    def _numbers(self) -> list[int]:
        with suppress(FileNotFoundError), storage_errors(self._folder, FileNotFoundError):
            return [int(found[1], 16) for name in os.listdir(self._folder) if (found := _NAME.fullmatch(name))]
        return []

    def _path(self, number: int) -> Path:
        return segment_path(self._folder, number)

    @contextmanager
    def _descriptor(self, number: int, flags: int) -> Iterator[int]:
        path = self._path(number)
        with storage_errors(path, FileNotFoundError):
            descriptor = os.open(path, flags | os.O_CLOEXEC)
            try:
                yield descriptor
            finally:
                os.close(descriptor)


def _is_empty(descriptor: int) -> bool:
    """Whether nothing but removed payloads is in a segment, all of it readable."""
    end = len(MAGIC)
    for each in records(descriptor, 0):
        if each.is_live or each.offset != end:
            return False
        end = each.end
    return is_segment(descriptor) and os.fstat(descriptor).st_size == end


def _is_ours_alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
            return False
        raise
    return True
