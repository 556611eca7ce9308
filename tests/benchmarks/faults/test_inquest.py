"""What counts as sent again, on journals written by hand."""

from __future__ import annotations

import pytest

from benchmarks.faults.inquest import Repetition, handed_again, received_again, stored_and_sent_again
from benchmarks.faults.journal import Entry

A, B = "a" * 64, "b" * 64
TRUE, AHEAD, BEHIND = (f"0 start {ahead_s} 86400.0" for ahead_s in (0.0, 172_800.0, -86_400.0))


def entries(*lines: str) -> list[Entry]:
    """`time kind words...`"""
    split = [line.split() for line in lines]
    return [Entry(at_ns=int(at), kind=kind, words=tuple(words)) for at, kind, *words in split]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # goes on exactly where it was: nothing again
        ([f"1 begin {A} 0", f"2 chunk {A} 0 10", f"3 begin {A} 10", f"4 chunk {A} 10 10"], []),
        # the last chunk was received and not written
        (
            [f"1 begin {A} 0", f"2 chunk {A} 0 10", f"3 chunk {A} 10 10", f"4 begin {A} 10"],
            [Repetition(scene_id=A, chunks=1, is_whole=False)],
        ),
        # the other scene's chunks do not count
        ([f"1 begin {A} 0", f"2 begin {B} 0", f"3 chunk {B} 0 10", f"4 begin {A} 0"], []),
        # two chunks again, then one of them once more
        (
            [
                f"1 begin {A} 0", f"2 chunk {A} 0 10", f"3 chunk {A} 10 10", f"4 begin {A} 0",
                f"5 chunk {A} 0 10", f"6 begin {A} 0",
            ],
            [Repetition(scene_id=A, chunks=2, is_whole=False), Repetition(scene_id=A, chunks=1, is_whole=False)],
        ),
        # all 30 bytes had come
        (
            [f"1 begin {A} 0", f"2 chunk {A} 0 20", f"3 chunk {A} 20 10", f"4 begin {A} 0"],
            [Repetition(scene_id=A, chunks=2, is_whole=True)],
        ),
    ],
)  # fmt: skip
def test_received_again(lines: list[str], expected: list[Repetition]) -> None:
    assert received_again(entries(*lines), {A: 30, B: 30}) == expected


@pytest.mark.parametrize(
    ("then", "chunks", "is_expired"),
    [
        # half a day wrong is not enough for a payload to be dropped
        (["3 start 43200.0 86400.0", f"4 begin {A} 0"], 2, False),
        # the server was killed before it had finished the scene, and the next one's clock was two days ahead
        ([AHEAD, f"4 begin {A} 0"], 2, True),
        # that one was killed, too, before anybody asked it
        ([AHEAD, BEHIND, f"4 begin {A} 0"], 2, True),
        # that one held it for a stream, and dropped it when the stream was gone
        ([AHEAD, f"4 begin {A} 30", f"5 begin {A} 0"], 2, True),
        # what is dropped is gone as a whole
        ([AHEAD, f"4 begin {A} 20"], 1, False),
        # it outlived that one, and the next had no reason to drop it
        ([AHEAD, BEHIND, f"4 begin {A} 30", TRUE, f"5 begin {A} 0"], 2, False),
    ],
)
def test_a_whole_scene_may_go_where_a_clock_says_so(then: list[str], chunks: int, is_expired: bool) -> None:
    came = [TRUE, f"1 begin {A} 0", f"2 chunk {A} 0 20", f"2 chunk {A} 20 10"]
    is_whole = chunks == 2
    expected = [Repetition(scene_id=A, chunks=chunks, is_whole=is_whole, is_expired=is_expired)]
    assert received_again(entries(*came, *then), {A: 30}) == expected


@pytest.mark.parametrize(
    ("loaded_at", "found"),
    [(1, set()), (6, {A}), (9, set())],  # read late from a broken stream; sent again; only asked for again
)
def test_a_stored_scene_that_is_sent_again(loaded_at: int, found: set[str]) -> None:
    server = entries(f"2 begin {A} 0", f"3 chunk {A} 0 30", f"4 stored {A}", f"7 chunk {A} 0 30", f"8 chunk {B} 0 30")
    vehicle = entries(f"1 load {A}", f"{loaded_at} load {A}", f"5 load {B}")
    assert stored_and_sent_again(server, vehicle) == found


def test_handed_again_merges_both_journals_by_time() -> None:
    vehicle = entries(f"1 load {A}", "3 sent 10", "4 sent 10", "5 sent 10", f"7 load {A}", "9 sent 10", f"20 load {A}")
    server = entries(f"2 begin {A} 0", f"8 begin {A} 10", f"21 begin {A} 20")
    assert handed_again(server, vehicle) == [2, 0]


def test_another_scene_is_counted_for_itself() -> None:
    vehicle = entries(f"1 load {A}", "3 sent 10", f"4 load {B}", "6 sent 7", f"7 load {A}", f"9 load {B}")
    server = entries(f"2 begin {A} 0", f"5 begin {B} 0", f"8 begin {A} 0", f"10 begin {B} 7")
    assert handed_again(server, vehicle) == [1, 0]
