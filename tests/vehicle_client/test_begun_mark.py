"""What a vehicle knows after a restart of the scenes that it has begun."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.loopback import fill
from vehicle_client.begun_mark import STRIDE, BegunMark
from vehicle_client.outbox import Outbox


@pytest.fixture
def database(tmp_path: Path) -> sqlite3.Connection:
    with Outbox(tmp_path / "spool") as outbox:
        fill(outbox, 3)
    opened = sqlite3.connect(tmp_path / "spool" / "outbox.sqlite")
    opened.execute("DELETE FROM counters WHERE name = 'begun_up_to'")
    opened.commit()
    return opened


def test_all_that_an_older_build_left_may_have_been_begun(database: sqlite3.Connection) -> None:
    mark = BegunMark(database)
    assert [mark.is_first(sequence) for sequence in (1, 3, 4)] == [False, False, True]


def test_a_restart_knows_what_was_begun_and_a_little_more(database: sqlite3.Connection) -> None:
    first = BegunMark(database)
    assert [first.is_first(sequence) for sequence in (5, 4, 5 + STRIDE)] == [True, True, True]
    later = BegunMark(database)
    assert [later.is_first(5 + STRIDE + more) for more in (0, 1)] == [False, True]


def test_one_commit_is_enough_for_many_scenes(database: sqlite3.Connection) -> None:
    mark, before = BegunMark(database), database.total_changes
    for sequence in range(10, 11 + STRIDE):
        assert mark.is_first(sequence)
    assert database.total_changes == before + 1


def test_a_full_disk_only_costs_the_knowledge(database: sqlite3.Connection) -> None:
    mark = BegunMark(database)
    database.execute("CREATE TRIGGER full BEFORE INSERT ON counters BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    assert not mark.is_first(10)
    database.execute("DROP TRIGGER full")
    assert mark.is_first(10)


def test_another_trouble_is_told(database: sqlite3.Connection) -> None:
    mark = BegunMark(database)
    database.close()
    with pytest.raises(sqlite3.Error):
        mark.is_first(10)


def test_a_scene_that_is_gone_is_not_the_first(tmp_path: Path) -> None:
    with Outbox(tmp_path / "spool") as outbox:
        (scene_id,) = fill(outbox, 1)
        assert outbox.note_begun(scene_id)
        outbox.mark_delivered(scene_id)
        assert not outbox.note_begun(scene_id)
