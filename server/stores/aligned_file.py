"""A file that is written in whole blocks, past the page cache where the file system can.

What is only appended and synced at once gains nothing from the page cache and pays for it: every page is taken, filled,
written and kept for nobody. docs/benchmarks.md has what that costs.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

BLOCK = 4096  # a multiple of what common file systems and disks ask for in writes past the page cache
BUFFER_BYTES = 4 << 20
_DIRECT = getattr(os, "O_DIRECT", 0)  # Linux only


class BlockBuffer:
    """Memory that begins at a page, as such writes need it; for one thread at a time."""

    def __init__(self, size: int = BUFFER_BYTES) -> None:
        self._view = memoryview(mmap.mmap(-1, size))

    def pieces(self, parts: Sequence[bytes]) -> Iterator[memoryview]:
        """All of `parts`, one behind the other; each piece is full but the last, and is to be used at once."""
        filled, size = 0, len(self._view)
        for part in parts:
            left = memoryview(part)
            while left:
                taken = left[: size - filled]
                self._view[filled : filled + len(taken)] = taken
                filled, left = filled + len(taken), left[len(taken) :]
                if filled == size:
                    yield self._view
                    filled = 0
        if filled:
            yield self._view[:filled]


def create_aligned(path: Path) -> int:
    """A descriptor of a new file for `write_blocks`. Raises FileExistsError, OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o640)
    with suppress(OSError):  # this file system has no such writes: through the page cache, then
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | _DIRECT)
    return descriptor


def write_blocks(descriptor: int, parts: Sequence[bytes], offset: int, buffer: BlockBuffer) -> None:
    """Write all of `parts`, one behind the other; they begin at a block and end with one.

    Raises:
        ValueError: they do not.
        OSError: the disk's.
    """
    if offset % BLOCK or sum(map(len, parts)) % BLOCK:
        raise ValueError(f"expected whole blocks of {BLOCK} bytes, got {sum(map(len, parts))} bytes at {offset}")
    for piece in buffer.pieces(parts):
        offset += _write(descriptor, piece, offset)


def _write(descriptor: int, piece: memoryview, offset: int) -> int:
    done = 0
    while done < len(piece):
        try:
            done += os.pwrite(descriptor, piece[done:], offset + done)
        except OSError as error:
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            if error.errno != errno.EINVAL or not flags & _DIRECT:
                raise
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~_DIRECT)  # its blocks are larger, or it has no such writes
    return done
