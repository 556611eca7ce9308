"""What is written into a segment: a file to which payloads are only appended, so that many of them cost one sync.

    8 bytes   "UPCYSEG" and the format's version, 1
    records, one behind the other:
      4       "SCEN"; "GONE" once the payload is removed and its bytes are zeros
      32      SHA-256 of the payload
      8       its length, little-endian
      4       CRC-32 of SHA-256 and length, little-endian
      length  the payload

A power cut leaves nothing behind the last record that was synced but such as was never acknowledged: reading stops at
the first one that is not whole.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAGIC = b"UPCYSEG\x01"
LIVE, GONE = b"SCEN", b"GONE"
_HEADER = struct.Struct("<4s32sQI")
HEADER_BYTES = _HEADER.size
_PUNCH_HOLE, _KEEP_SIZE = 0x02, 0x01  # of Linux' fallocate(2)
_ZEROS = bytes(1 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A payload in a segment. offset: of its header; end: behind its last byte."""

    offset: int
    sha256: str
    length: int
    is_live: bool

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.offset + HEADER_BYTES + self.length


def header(sha256: str, length: int) -> bytes:
    """What stands before a live payload."""
    named = bytes.fromhex(sha256) + length.to_bytes(8, "little")
    return LIVE + named + zlib.crc32(named).to_bytes(4, "little")


def record_at(descriptor: int, offset: int) -> Record | None:
    """The record that begins there; None where none does. Whether it is whole is not looked at. Raises OSError."""
    found = os.pread(descriptor, HEADER_BYTES, offset)
    if len(found) < HEADER_BYTES:
        return None
    state, sha256, length, checksum = _HEADER.unpack(found)
    if state not in (LIVE, GONE) or zlib.crc32(found[4:44]) != checksum:
        return None
    return Record(offset=offset, sha256=sha256.hex(), length=length, is_live=state == LIVE)


def records(descriptor: int, start: int) -> Iterator[Record]:
    """The whole records from `start` on, which is the file's begin or a record's end. Raises OSError."""
    size = os.fstat(descriptor).st_size
    if start < len(MAGIC):
        if os.pread(descriptor, len(MAGIC), 0) != MAGIC:
            return
        start = len(MAGIC)
    while (found := record_at(descriptor, start)) is not None and found.end <= size:
        yield found
        start = found.end


def write_at(descriptor: int, parts: Sequence[bytes], offset: int) -> None:
    """Write all of `parts`, one behind the other. Raises OSError."""
    views = [memoryview(part) for part in parts if part]
    while views:
        written = os.pwritev(descriptor, views, offset)
        offset += written
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if written:
            views[0] = views[0][written:]


def erase(descriptor: int, record: Record) -> None:
    """Let a payload's bytes go for good, and give their space back where the file system can. Raises OSError."""
    os.pwrite(descriptor, GONE, record.offset)
    start = record.offset + HEADER_BYTES
    if record.length and not _punch(descriptor, start, record.length):
        for done in range(0, record.length, len(_ZEROS)):
            write_at(descriptor, [_ZEROS[: record.length - done]], start + done)
    os.fdatasync(descriptor)


def _punch(descriptor: int, start: int, length: int) -> bool:
    """Whether the file system could; Linux only."""
    allocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if allocate is None:
        return False
    allocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if not allocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, start, length):
        return True
    number = ctypes.get_errno()
    if number in (errno.EOPNOTSUPP, errno.ENOSYS):
        return False
    raise OSError(number, os.strerror(number))
