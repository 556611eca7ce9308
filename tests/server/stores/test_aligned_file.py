"""Files that are written in whole blocks."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import numpy as np
import pytest

from server.stores.aligned_file import BLOCK, BlockBuffer, create_aligned, write_blocks


def is_direct(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)


@pytest.mark.parametrize("sizes", [[1, 4095], [3, BLOCK * 2, BLOCK - 3], [BLOCK * 5 + 1, 7, BLOCK - 8], [BLOCK * 2]])
def test_all_parts_lie_one_behind_the_other(tmp_path: Path, sizes: list[int]) -> None:
    rng = np.random.default_rng(0)
    parts = [rng.bytes(size) for size in sizes]
    descriptor = create_aligned(tmp_path / "file")
    buffer = BlockBuffer(2 * BLOCK)  # so that several pieces are needed
    write_blocks(descriptor, parts, 0, buffer)
    write_blocks(descriptor, parts, sum(sizes), buffer)
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"".join(parts) * 2


@pytest.mark.parametrize(("sizes", "offset"), [([10], 0), ([BLOCK], 10), ([BLOCK, 1], BLOCK)])
def test_parts_of_blocks_are_refused(tmp_path: Path, sizes: list[int], offset: int) -> None:
    descriptor = create_aligned(tmp_path / "file")
    with pytest.raises(ValueError, match="whole blocks of 4096"):
        write_blocks(descriptor, [bytes(size) for size in sizes], offset, BlockBuffer(BLOCK))
    os.close(descriptor)
    assert (tmp_path / "file").stat().st_size == 0


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(FileExistsError):
        create_aligned(tmp_path / "file")


def test_a_file_system_that_wants_other_blocks_gets_its_writes_through_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = os.pwrite, []

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        if is_direct(descriptor):
            refused.append(offset)
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(descriptor, data[:100], offset)  # and a little at a time

    descriptor = create_aligned(tmp_path / "file")
    was_direct = is_direct(descriptor)
    monkeypatch.setattr("server.stores.aligned_file.os.pwrite", pwrite)
    write_blocks(descriptor, [b"a" * BLOCK, b"b" * BLOCK], 0, BlockBuffer(2 * BLOCK))
    assert refused == ([0] if was_direct else [])
    assert not is_direct(descriptor)
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"a" * BLOCK + b"b" * BLOCK


def test_other_errors_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pwrite(*_: object) -> int:
        raise OSError(errno.EINVAL if is_cached else errno.EIO, "no")

    descriptor = create_aligned(tmp_path / "file")
    monkeypatch.setattr("server.stores.aligned_file.os.pwrite", pwrite)
    for is_cached in (False, True):
        if is_cached:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, 0)
        with pytest.raises(OSError, match="no"):
            write_blocks(descriptor, [bytes(BLOCK)], 0, BlockBuffer(BLOCK))
    os.close(descriptor)
