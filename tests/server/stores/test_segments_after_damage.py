"""Segments after power cuts, kills and damage, and side by side with others who use the folder."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from server.stores import segments as module
from server.stores.aligned_file import BLOCK
from server.stores.segment_file import header
from server.stores.segments import Segments
from shared_models.errors import StorageError
from tests.segment_payloads import ONE, THREE, TWO, files, named, without_index


def reopened(folder: Path, has_index: bool = True) -> Segments:
    if not has_index:
        without_index(folder)
    return Segments(folder)


@pytest.mark.parametrize("is_read_only", [False, True])
def test_a_damaged_header_costs_its_own_payload_only(segments: Segments, tmp_path: Path, is_read_only: bool) -> None:
    for each in (ONE, TWO, THREE):
        segments.append([each])
    segments.close()
    (segment,) = files(tmp_path)
    data = bytearray(segment.read_bytes())
    data[data.index(TWO[1]) - 30] ^= 1
    segment.write_bytes(data)
    without_index(tmp_path)
    again = Segments(tmp_path, is_read_only)
    assert [again.read(sha256) for sha256, _ in (ONE, TWO, THREE)] == [ONE[1], None, THREE[1]]
    assert segment.read_bytes() == data
    again.close()


def test_with_its_index_a_damaged_header_costs_nothing(segments: Segments, tmp_path: Path) -> None:
    segments.append([ONE, TWO])
    (segment,) = files(tmp_path)
    data = bytearray(segment.read_bytes())
    data[BLOCK + 12] ^= 1  # the first header
    segment.write_bytes(data)
    assert segments.read(ONE[0]) == ONE[1]
    segments.remove(ONE[0])
    assert (segments.has(ONE[0]), ONE[1] in segment.read_bytes()) == (False, False)
    again = reopened(tmp_path, has_index=False)
    assert again.names() == {TWO[0]}
    again.close()


def test_segments_of_another_version_are_left_as_they_are(
    segments: Segments, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segments.append([ONE])
    segments.close()
    (segment,) = files(tmp_path)
    newer = b"UPCYSEG\x02" + segment.read_bytes()[8:]
    segment.write_bytes(newer)
    again = reopened(tmp_path, has_index=False)
    again.append([TWO])
    again.remove(TWO[0])
    assert segment.read_bytes() == newer
    assert "no segment that this version reads" in caplog.text
    again.close()


def test_what_a_power_cut_tore_is_erased_and_not_taken_for_a_payload(segments: Segments, tmp_path: Path) -> None:
    """The header came to the disk, of the payload only a part."""
    segments.append([ONE])
    segments.close()
    (segment,) = files(tmp_path)
    with open(segment, "ab") as file:
        file.write(header(TWO[0], len(TWO[1])) + TWO[1][:8] + bytes(len(TWO[1]) - 8))
    again = reopened(tmp_path)
    assert (again.has(TWO[0]), again.read(TWO[0]), again.read(ONE[0])) == (False, None, ONE[1])
    assert TWO[1][:8] not in segment.read_bytes()
    again.close()


@pytest.mark.parametrize("has_index", [True, False])
def test_a_removal_that_was_cut_off_is_done_again(
    segments: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_index: bool
) -> None:
    segments.append([ONE, TWO])

    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("server.stores.segment_file._punch", killed)
    with pytest.raises(KeyboardInterrupt):
        segments.remove(ONE[0])
    monkeypatch.undo()
    (segment,) = files(tmp_path)
    assert ONE[1] in segment.read_bytes()
    segments.close()
    again = reopened(tmp_path, has_index)
    again.remove(ONE[0])
    assert ONE[1] not in segment.read_bytes()
    assert again.names() == {TWO[0]}
    again.close()


def test_an_index_that_contradicts_itself_is_made_anew(segments: Segments, tmp_path: Path) -> None:
    segments.append([ONE, TWO])
    segments.close()
    with sqlite3.connect(tmp_path / "index.sqlite") as connection:
        connection.execute("DELETE FROM payloads WHERE sha256 = ?", (bytes.fromhex(ONE[0]),))
    connection.close()
    again = reopened(tmp_path)
    assert again.names() == {ONE[0], TWO[0]}
    again.close()


@pytest.mark.parametrize("content", [b"", b"no database " * 1000])
def test_readers_do_without_an_index_that_cannot_be_read(segments: Segments, tmp_path: Path, content: bytes) -> None:
    segments.append([ONE])
    segments.close()
    without_index(tmp_path)
    (tmp_path / "index.sqlite").write_bytes(content)
    reader = Segments(tmp_path, is_read_only=True)
    assert (reader.read(ONE[0]), reader.names()) == (ONE[1], {ONE[0]})
    assert (tmp_path / "index.sqlite").read_bytes() == content


def test_readers_look_further_where_the_index_is_stale(segments: Segments, tmp_path: Path) -> None:
    segments.append([ONE])
    kept = {path: path.read_bytes() for path in tmp_path.glob("index.sqlite*")}
    (segment,) = files(tmp_path)
    data = segment.read_bytes()
    segment.write_bytes(data.replace(ONE[1], b"number 0ne"))
    segments.append([ONE])  # once more, for the first is damaged
    segments.close()
    for path, content in kept.items():
        path.write_bytes(content)
    assert Segments(tmp_path, is_read_only=True).read(ONE[0]) == ONE[1]


def test_names_while_another_process_writes(segments: Segments, tmp_path: Path) -> None:
    """What is found meanwhile, while the names are gone through, does not end it."""
    many = named(*(f"payload {number}".encode() for number in range(40)))
    segments.append(many[:20])
    without_index(tmp_path)
    reader, real = Segments(tmp_path, is_read_only=True), Segments.has
    left = iter(many[20:])

    def has_and_append(self: Segments, sha256: str) -> bool:
        if (each := next(left, None)) is not None:
            segments.append([each])
        return real(self, sha256)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segments, "has", has_and_append)
        assert reader.names() >= {sha256 for sha256, _ in many[:20]}


def test_a_copy_that_cannot_be_read_hides_no_sound_one(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    segments.append([ONE])
    (first,) = segments._index.places(ONE[0])
    real = module.read_at

    def unreadable(descriptor: int, length: int, offset: int) -> bytes:
        if offset == first.offset + module.HEADER_BYTES:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, length, offset)

    monkeypatch.setattr(module, "read_at", unreadable)
    with pytest.raises(StorageError, match="Input/output error"):
        segments.read(ONE[0])
    segments.append([ONE])
    assert segments.read(ONE[0]) == ONE[1]


def test_a_segment_that_was_added_to_meanwhile_stays(
    segments: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the index and the lock on the file another thread may write, and end the segment."""
    segments.append([ONE])
    (segment,) = files(tmp_path)
    number = int(segment.stem, 16)
    segments._writer.close()
    monkeypatch.setattr(segments._index, "dead", lambda: [number])
    segments._take_away_dead()
    assert segments.read(ONE[0]) == ONE[1]


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    for name in ("zzzzzzzzzzzzzzzz.segment", "ffffffffffffffff.segment", "0.segment", "note.txt"):
        (tmp_path / name).write_bytes(b"?")
    segments = Segments(tmp_path)
    assert segments.names() == set()
    assert (tmp_path / "zzzzzzzzzzzzzzzz.segment").exists()
    segments.close()


def test_many_at_once(segments: Segments) -> None:
    many = named(*(f"payload {number}".encode() for number in range(1500)))
    segments.append(many)
    assert segments.names() == {sha256 for sha256, _ in many}
    assert segments.read(many[-1][0]) == many[-1][1]


def test_what_looks_like_a_removed_record_within_a_payload_erases_nothing(segments: Segments, tmp_path: Path) -> None:
    """A vehicle can send any bytes; behind a damaged header they must not be taken for an order to erase the rest."""
    false = b"GONE" + header("5" * 64, len(ONE[1]) + len(TWO[1]))[4:]
    (planted,) = named(false + b"and so on")
    for each in (planted, ONE, TWO):
        segments.append([each])
    segments.close()
    (segment,) = files(tmp_path)
    data = bytearray(segment.read_bytes())
    data[BLOCK + 12] ^= 1  # the first header
    segment.write_bytes(data)
    again = reopened(tmp_path, has_index=False)
    assert [again.read(sha256) for sha256, _ in (planted, ONE, TWO)] == [None, ONE[1], TWO[1]]
    assert segment.read_bytes() == data
    again.close()
