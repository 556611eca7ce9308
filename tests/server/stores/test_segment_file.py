"""Records of segments, byte by byte."""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.stores import segment_file
from server.stores.segment_file import HEADER_BYTES, MAGIC, erase, filler, header, is_gone, record_at, records, write_at

ONE, TWO = b"first payload", b"the second payload"


def sha256(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    """A segment with two payloads."""
    opened = os.open(tmp_path / "segment", os.O_RDWR | os.O_CREAT)
    parts = [MAGIC, header(sha256(ONE), len(ONE)), ONE, header(sha256(TWO), len(TWO)), TWO]
    write_at(opened, parts, 0)
    yield opened
    os.close(opened)


def test_the_format_written_out(descriptor: int) -> None:
    """So that segments of today are read for ever: worked out by hand from the module's description."""
    named = hashlib.sha256(ONE).digest() + bytes([13, 0, 0, 0, 0, 0, 0, 0])
    expected = b"UPCYSEG\x01" + b"SCEN" + named + zlib.crc32(named).to_bytes(4, "little") + ONE
    assert os.pread(descriptor, len(expected), 0) == expected
    assert HEADER_BYTES == 48


@pytest.mark.parametrize("end", [8, 4047, 4048, 4049, 4096, 100_000])
def test_what_fills_up_is_a_removed_record_of_nobody(tmp_path: Path, end: int) -> None:
    """So that builds from before it read it, too."""
    with open(tmp_path / "segment", "w+b") as file:
        file.write(MAGIC + bytes(end - len(MAGIC)) + filler(end))
        file.flush()
        found = record_at(file.fileno(), end)
        assert found is not None
        assert (found.sha256, found.is_live, found.end % 4096) == ("0" * 64, False, 0)
        assert found.end == os.fstat(file.fileno()).st_size
        assert found.end - end < 4096 + HEADER_BYTES
        assert is_gone(file.fileno(), found)


def test_records_are_found_one_behind_the_other(descriptor: int) -> None:
    first, second = records(descriptor, 0)
    assert (first.offset, first.sha256, first.length, first.is_live) == (8, sha256(ONE), 13, True)
    assert (second.offset, second.sha256, second.length) == (first.end, sha256(TWO), 18)
    assert list(records(descriptor, first.end)) == [second]
    assert list(records(descriptor, second.end)) == []


@pytest.mark.parametrize("cut", [1, 18, 19, 18 + 48 - 1])
def test_a_torn_record_ends_the_reading(descriptor: int, cut: int) -> None:
    os.ftruncate(descriptor, os.fstat(descriptor).st_size - cut)
    assert [each.sha256 for each in records(descriptor, 0)] == [sha256(ONE)]


def test_zeros_and_damaged_headers_end_the_reading(descriptor: int) -> None:
    first, second = records(descriptor, 0)
    os.pwrite(descriptor, b"\xff", second.offset + 20)
    assert list(records(descriptor, 0)) == [first]
    os.ftruncate(descriptor, second.offset)
    os.ftruncate(descriptor, second.offset + 1000)
    assert list(records(descriptor, 0)) == [first]
    os.pwrite(descriptor, b"\x02", 7)
    assert list(records(descriptor, 0)) == []  # another version of the format


@pytest.mark.parametrize("can_punch", [True, False])
def test_erased_payloads_are_gone_for_good(descriptor: int, monkeypatch: pytest.MonkeyPatch, can_punch: bool) -> None:
    if not can_punch:
        monkeypatch.setattr(segment_file, "_punch", lambda *_: False)
    first, second = records(descriptor, 0)
    erase(descriptor, first)
    held = os.pread(descriptor, 1000, 0)
    assert ONE not in held
    assert held[first.offset + 48 : first.end] == bytes(13)
    assert TWO in held
    assert [each.is_live for each in records(descriptor, 0)] == [False, True]
    assert record_at(descriptor, second.offset) == second


def test_erasing_gives_space_back(tmp_path: Path) -> None:
    payload = os.urandom(1 << 20)
    with open(tmp_path / "big", "w+b", buffering=0) as file:
        write_at(file.fileno(), [MAGIC, header(sha256(payload), len(payload)), payload], 0)
        os.fsync(file.fileno())
        before = os.fstat(file.fileno()).st_blocks
        (record,) = records(file.fileno(), 0)
        if not segment_file._punch(file.fileno(), HEADER_BYTES + 8, 1):
            pytest.skip("this file system cannot give space back")
        erase(file.fileno(), record)
        assert os.fstat(file.fileno()).st_size == record.end
        assert os.fstat(file.fileno()).st_blocks < before / 10


def test_a_write_that_is_cut_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev

    def three_bytes(descriptor: int, parts: list[memoryview], offset: int) -> int:
        return real(descriptor, [parts[0][:3]], offset)

    monkeypatch.setattr("server.stores.segment_file.os.pwritev", three_bytes)
    with open(tmp_path / "a", "w+b", buffering=0) as file:
        write_at(file.fileno(), [b"abcde", b"", b"f", b"ghijk"], 2)
        assert os.pread(file.fileno(), 100, 0) == b"\0\0abcdefghijk"


def test_a_disk_that_fails_while_erasing(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("server.stores.segment_file.os.fdatasync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        erase(descriptor, next(records(descriptor, 0)))
