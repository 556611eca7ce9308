"""What is written into a segment: a file to which payloads are only appended, so that many of them cost one sync.

    8 bytes   "UPCYSEG" and the format's version, 1
    records, one behind the other:
      4       "SCEN"; "GONE" once the payload is removed and its bytes are zeros
      32      SHA-256 of the payload
      8       its length, little-endian
      4       CRC-32 of SHA-256 and length, little-endian
      length  the payload

What is written together begins and ends with a block of 4096 bytes: the file's begin, and what is appended at once, are
filled up with a "GONE" record of zeros that nobody's payload ever was. Its SHA-256 is zeros, too.

A power cut leaves nothing behind the last record that was synced but such as was never acknowledged. Records behind a
damaged header are found again by their magic, checksum and payload together.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from server.stores.aligned_file import BLOCK

MAGIC = b"UPCYSEG\x01"
LIVE, GONE = b"SCEN", b"GONE"
_HEADER = struct.Struct("<4s32sQI")
_STATES = re.compile(LIVE + b"|" + GONE)
HEADER_BYTES = _HEADER.size
_PUNCH_HOLE, _KEEP_SIZE = 0x02, 0x01  # of Linux' fallocate(2)
_ZEROS = bytes(1 << 20)
_NOBODY = bytes(32)  # the SHA-256 in what only fills up
_MOST_PARTS = 512  # Linux takes 1024 at once


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


def filler(end: int) -> bytes:
    """What stands between `end` and where the next block begins, with room for a header."""
    length = (-end - HEADER_BYTES) % BLOCK
    return GONE + header(_NOBODY.hex(), length)[len(GONE) :] + bytes(length)


def record_at(descriptor: int, offset: int) -> Record | None:
    """The record that begins there; None where none does. Whether it is whole is not looked at. Raises OSError."""
    found = os.pread(descriptor, HEADER_BYTES, offset)
    if len(found) < HEADER_BYTES:
        return None
    state, sha256, length, checksum = _HEADER.unpack(found)
    if state not in (LIVE, GONE) or zlib.crc32(found[4:44]) != checksum:
        return None
    return Record(offset=offset, sha256=sha256.hex(), length=length, is_live=state == LIVE)


def is_segment(descriptor: int) -> bool:
    """Whether the file begins as this version of the format does. Raises OSError."""
    return os.pread(descriptor, len(MAGIC), 0) == MAGIC


def records(descriptor: int, start: int) -> Iterator[Record]:
    """The whole records from `start` on, which is the file's begin or a record's end. Raises OSError.

    Where one has a damaged header, those behind it are looked for; found are only such with the right payload.
    """
    if not is_segment(descriptor):
        return
    size, start = os.fstat(descriptor).st_size, max(start, len(MAGIC))
    while start < size:
        found = record_at(descriptor, start)
        if found is None or found.end > size:
            found = _next_sound(descriptor, start + 1, size)
        if found is None:
            return
        yield found
        start = found.end


def payload_of(descriptor: int, record: Record) -> bytes:
    """Its bytes, unchecked. Raises OSError."""
    return read_at(descriptor, record.length, record.offset + HEADER_BYTES)


def is_sound(descriptor: int, record: Record) -> bool:
    """Whether the payload is the one that its header names. Raises OSError."""
    return hashlib.sha256(payload_of(descriptor, record)).hexdigest() == record.sha256


def is_gone(descriptor: int, record: Record) -> bool:
    """Whether nothing is left of a removed payload's bytes. Raises OSError."""
    payload = payload_of(descriptor, record)
    return payload.count(0) == len(payload)


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """So many bytes, or as many as there are. Raises OSError."""
    parts = []
    while length > 0 and (part := os.pread(descriptor, length, offset)):
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def write_at(descriptor: int, parts: Sequence[bytes], offset: int) -> None:
    """Write all of `parts`, one behind the other. Raises OSError."""
    views = [memoryview(part) for part in parts if part]
    while views:
        written = os.pwritev(descriptor, views[:_MOST_PARTS], offset)
        offset += written
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if written:
            views[0] = views[0][written:]


def erase(descriptor: int, record: Record) -> None:
    """Let a payload's bytes go for good, and give their space back where the file system can. Raises OSError.

    May be done again: who is cut off in between has to. Its header is written anew, in case it was damaged.
    """
    write_at(descriptor, [GONE + header(record.sha256, record.length)[len(GONE) :]], record.offset)
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
    return not allocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, start, length)  # where it cannot, zeros may do


def _next_sound(descriptor: int, start: int, size: int) -> Record | None:
    """The first record from `start` on that has the right payload, or none of it any more.

    What looks like a header may stand within a payload: nothing is believed that its bytes do not prove.
    """
    for state in _STATES.finditer(read_at(descriptor, size - start, start)):
        found = record_at(descriptor, start + state.start())
        if found is not None and found.end <= size and _is_proven(descriptor, found):
            return found
    return None


def _is_proven(descriptor: int, record: Record) -> bool:
    return is_sound(descriptor, record) if record.is_live else is_gone(descriptor, record)
