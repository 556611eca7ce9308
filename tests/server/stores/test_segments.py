"""Payloads in segments: power cuts, kills, full disks, removal, several processes on one folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from server.stores import segments as module
from server.stores.aligned_file import BLOCK
from server.stores.placed_files import sync_directory
from server.stores.segment_file import HEADER_BYTES, header, records
from server.stores.segments import Segments
from shared_models.errors import StorageError, StorageFullError
from tests.segment_payloads import ONE, THREE, TWO, files, named, without_index


def test_payloads_come_back(segments: Segments, tmp_path: Path) -> None:
    segments.append([ONE, TWO])
    segments.append([THREE])
    assert [segments.read(sha256) for sha256, _ in (ONE, TWO, THREE)] == [ONE[1], TWO[1], THREE[1]]
    assert segments.names() == {ONE[0], TWO[0], THREE[0]}
    assert (segments.has("0" * 64), segments.read("0" * 64)) == (False, None)
    assert len(files(tmp_path)) == 1


def test_one_sync_for_all_that_come_together(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    segments.append([ONE])
    synced: list[int] = []
    real = os.fdatasync

    def record(descriptor: int) -> None:
        synced.append(descriptor)
        real(descriptor)

    monkeypatch.setattr("server.stores.segments.os.fdatasync", record)
    segments.append([TWO, THREE])
    assert len(synced) == 1


def test_the_index_names_nothing_that_is_not_synced(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        assert not segments.has(ONE[0])
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("server.stores.segments.os.fdatasync", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        segments.append([ONE])
    monkeypatch.undo()
    assert not segments.has(ONE[0])
    segments.append([ONE])
    assert segments.read(ONE[0]) == ONE[1]


def test_a_new_segment_is_begun_behind_a_size(
    segments: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.stores.segment_writer.SEGMENT_BYTES", 3 * BLOCK)
    for each in (ONE, TWO, THREE):
        segments.append([each])
    assert len(files(tmp_path)) == 2
    assert [segments.read(sha256) for sha256, _ in (ONE, TWO, THREE)] == [ONE[1], TWO[1], THREE[1]]


@pytest.mark.parametrize("is_read_only", [False, True])
def test_without_its_index_all_is_read_again(segments: Segments, tmp_path: Path, is_read_only: bool) -> None:
    segments.append([ONE, TWO])
    segments.remove(ONE[0])
    segments.close()
    without_index(tmp_path)
    again = Segments(tmp_path, is_read_only)
    assert (again.has(ONE[0]), again.read(TWO[0])) == (False, TWO[1])
    again.close()
    assert (tmp_path / "index.sqlite").exists() != is_read_only


def test_a_damaged_index_is_made_anew(segments: Segments, tmp_path: Path) -> None:
    segments.append([ONE, TWO])
    segments.close()
    without_index(tmp_path)
    (tmp_path / "index.sqlite").write_bytes(b"no database at all" * 1000)
    again = Segments(tmp_path)
    assert [again.read(sha256) for sha256, _ in (ONE, TWO)] == [ONE[1], TWO[1]]
    again.close()


def test_what_the_index_lost_is_read_again(segments: Segments, tmp_path: Path) -> None:
    """A power cut takes the index' last commits, which are not synced, and never a synced payload."""
    segments.append([ONE])
    segments.close()
    kept = {path: path.read_bytes() for path in tmp_path.glob("index.sqlite*")}
    (segment,) = files(tmp_path)
    with open(segment, "ab") as file:
        file.write(header(TWO[0], len(TWO[1])) + TWO[1])
    for path, data in kept.items():
        path.write_bytes(data)
    reader = Segments(tmp_path, is_read_only=True)
    assert (reader.read(TWO[0]), reader.read(ONE[0])) == (TWO[1], ONE[1])
    again = Segments(tmp_path)
    assert again.names() == {ONE[0], TWO[0]}
    again.close()


def test_a_torn_end_is_cut_off(segments: Segments, tmp_path: Path) -> None:
    segments.append([ONE])
    segments.close()
    (segment,) = files(tmp_path)
    size = segment.stat().st_size
    with open(segment, "ab") as file:
        file.write(header(TWO[0], len(TWO[1])) + TWO[1][:-1])
    again = Segments(tmp_path)
    assert (again.has(TWO[0]), segment.stat().st_size) == (False, size)
    again.append([TWO])  # into a segment of its own
    assert (again.read(ONE[0]), again.read(TWO[0]), len(files(tmp_path))) == (ONE[1], TWO[1], 2)
    again.close()


def test_what_is_here_is_not_written_twice(segments: Segments, tmp_path: Path) -> None:
    segments.append([ONE, TWO, ONE])
    size = files(tmp_path)[0].stat().st_size
    segments.append([TWO, ONE])
    assert files(tmp_path)[0].stat().st_size == size


def test_a_damaged_payload_is_named_and_can_be_written_again(segments: Segments, tmp_path: Path) -> None:
    segments.append([ONE, TWO])
    (segment,) = files(tmp_path)
    data = segment.read_bytes()
    segment.write_bytes(data.replace(ONE[1], b"number 0ne"))
    with pytest.raises(StorageError, match=rf"{segment.name}, byte {BLOCK}: payload {ONE[0][:12]} is damaged"):
        segments.read(ONE[0])
    segments.append([ONE])
    assert segments.read(ONE[0]) == ONE[1]
    segments.remove(ONE[0])
    assert not segments.has(ONE[0])
    assert b"number 0ne" not in segment.read_bytes()


def test_removed_payloads_leave_no_byte(segments: Segments, tmp_path: Path) -> None:
    segments.append([ONE, TWO])
    segments.remove(ONE[0])
    segments.remove(ONE[0])
    assert (segments.has(ONE[0]), segments.read(ONE[0])) == (False, None)
    assert ONE[1] not in files(tmp_path)[0].read_bytes()
    assert segments.read(TWO[0]) == TWO[1]


def test_a_segment_of_which_nothing_is_left_goes(
    segments: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.stores.segment_writer.SEGMENT_BYTES", 10)
    segments.append([ONE])
    segments.append([TWO])
    first, second = files(tmp_path)
    segments.remove(TWO[0])
    assert second.exists()  # it is the one that is written
    segments.remove(ONE[0])
    assert not first.exists()
    segments.append([THREE])
    segments.close()
    again = Segments(tmp_path)
    assert len(files(tmp_path)) == 1
    assert again.read(THREE[0]) == THREE[1]
    again.close()


@pytest.mark.parametrize("call", ["fdatasync", "pwrite"])
@pytest.mark.parametrize("has_some", [False, True])
def test_full_disk(
    segments: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, has_some: bool
) -> None:
    if has_some:
        segments.append([ONE])
    real = os.pwrite

    def fail(descriptor: int, *given: object) -> int:
        if call == "pwrite":
            data, offset = given
            if offset == 0:
                return real(descriptor, data, offset)  # type: ignore[arg-type]
            real(descriptor, data[: BLOCK // 2], offset)  # type: ignore[index, arg-type]
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"{'server.stores.aligned_file' if call == 'pwrite' else module.__name__}.os.{call}", fail)
    for _ in range(3):
        with pytest.raises(StorageFullError, match="no space left"):
            segments.append([TWO])
    monkeypatch.undo()
    assert len(files(tmp_path)) == int(has_some)
    assert not segments.has(TWO[0])
    segments.append([TWO])
    segments.close()
    without_index(tmp_path)
    again = Segments(tmp_path)
    assert again.names() == {TWO[0]} | ({ONE[0]} if has_some else set())
    again.close()


def test_what_is_written_together_ends_with_a_block(segments: Segments, tmp_path: Path) -> None:
    lengths = (1, BLOCK - 2 * HEADER_BYTES, BLOCK - 2 * HEADER_BYTES + 1, BLOCK, 3 * BLOCK + 17)
    many = named(*(bytes([length % 251]) * length for length in lengths))
    for each in many:
        segments.append([each])
    (segment,) = files(tmp_path)
    with open(segment, "rb") as file:
        found = list(records(file.fileno(), 0))
    assert [each.sha256 for each in found if each.is_live] == [sha256 for sha256, _ in many]
    assert all(each.offset % BLOCK == 0 for each in found if each.is_live)
    assert [a.end for a in found[:-1]] == [b.offset for b in found[1:]]
    assert segment.stat().st_size == found[-1].end
    assert found[-1].end % BLOCK == 0


def test_two_processes_write_side_by_side(segments: Segments, tmp_path: Path) -> None:
    """Another one that opens the folder neither takes the open segment away nor counts its payloads twice."""
    segments.append([ONE])
    script = (
        "import sys; from pathlib import Path; from server.stores.segments import Segments\n"
        f"other = Segments(Path(sys.argv[1])); other.append([({TWO[0]!r}, {TWO[1]!r})]); other.remove({ONE[0]!r})\n"
        "other.close()"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
    assert (segments.has(ONE[0]), segments.read(TWO[0])) == (False, TWO[1])
    segments.append([THREE])
    assert segments.read(THREE[0]) == THREE[1]
    assert len(files(tmp_path)) == 2


def test_a_segment_taken_away_before_it_was_locked_is_begun_again(
    segments: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = sync_directory, list[Path]()

    def take_away(folder: Path) -> None:
        real(folder)
        if not taken:
            taken.extend(files(folder))
            taken[0].unlink()

    monkeypatch.setattr("server.stores.segment_writer.sync_directory", take_away)
    segments.append([ONE])
    assert segments.read(ONE[0]) == ONE[1]
    assert len(files(tmp_path)) == 1
    assert files(tmp_path) != taken


def test_threads_read_write_and_remove_at_once(segments: Segments) -> None:
    payloads = named(*(f"payload {number} {'x' * number}".encode() for number in range(60)))
    failed: list[BaseException] = []

    def use(mine: list[tuple[str, bytes]]) -> None:
        try:
            for sha256, payload in mine:
                segments.append([(sha256, payload)])
                assert segments.read(sha256) == payload
                segments.remove(sha256)
                assert not segments.has(sha256)
                segments.append([(sha256, payload)])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=use, args=(payloads[start::3],)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert segments.names() == {sha256 for sha256, _ in payloads}


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    segments = Segments(tmp_path)
    segments.close()
    with pytest.raises(StorageError, match="closed"):
        segments.append([ONE])
