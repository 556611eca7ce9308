"""What every log of access must do, in memory and in a database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.repositories.access_log import AccessLog, Action, Event, Head
from server.repositories.database import Database
from server.repositories.memory_access_log import MemoryAccessLog
from server.repositories.postgres import PostgresDatabase
from server.repositories.sql_access_log import SqlAccessLog
from server.repositories.sqlite import SqliteFile
from shared_models.errors import StorageError


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AccessLog]:
    if request.param == "memory":
        yield MemoryAccessLog()
        return
    database: Database
    if request.param == "postgres":
        database = PostgresDatabase(request.getfixturevalue("postgres").empty_database())
    else:
        database = SqliteFile(tmp_path / "catalogue.sqlite")
    yield SqlAccessLog(database)
    database.close()


def event(number: int, action: Action = Action.READ) -> Event:
    return Event(at_ns=number, actor="operator/olaf", action=action, subject=f"scene {number}")


def test_the_chain_by_hand(log: AccessLog) -> None:
    detail = {"scenes": 2, "vehicle": "Zürich"}
    first = Event(at_ns=5, actor="user/käthe", action=Action.LIST, detail=detail)
    second = Event(at_ns=2**62, actor="vehicle/00ff", action=Action.UPLOAD, subject="ab" * 32)
    head = log.append([first, second])
    lines = ["upcycle.access.v1", "1", "5", "user/käthe", "list", "", '{"scenes":2,"vehicle":"Z\\u00fcrich"}', "0" * 64]
    one = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    lines = ["upcycle.access.v1", "2", "4611686018427387904", "vehicle/00ff", "upload", "ab" * 32, "{}", one]
    two = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert [entry.sha256 for entry in log.entries()] == [one, two]
    assert head == log.head() == Head(sequence=2, sha256=two)
    assert [entry.previous_sha256 for entry in log.entries()] == ["0" * 64, one]


def test_an_empty_log(log: AccessLog) -> None:
    assert log.head() == Head(sequence=0, sha256="0" * 64)
    assert list(log.entries()) == []
    assert log.append([]) == log.head()


def test_entries_after_a_number_and_of_some_actions(log: AccessLog) -> None:
    for number in range(6):
        log.append([event(number, Action.UPLOAD if number % 2 else Action.READ)])
    assert [entry.sequence for entry in log.entries(after=4)] == [5, 6]
    assert [entry.subject for entry in log.entries(actions={Action.UPLOAD})] == ["scene 1", "scene 3", "scene 5"]
    assert list(log.entries(after=3, actions={Action.TRAIN})) == []


def test_more_entries_than_one_page(log: AccessLog) -> None:
    log.append([event(number) for number in range(4_100)])
    assert [entry.at_ns for entry in log.entries()] == list(range(4_100))


def test_threads_keep_one_chain(log: AccessLog) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: log.append([event(number), event(number)]), range(60)))
    entries = list(log.entries())
    assert [entry.sequence for entry in entries] == list(range(1, 121))
    assert all(entry.sha256 == entry.expected_sha256 for entry in entries)
    assert [entry.previous_sha256 for entry in entries[1:]] == [entry.sha256 for entry in entries[:-1]]
    assert all(one.at_ns == two.at_ns for one, two in zip(entries[::2], entries[1::2], strict=True))  # none in between


def test_a_database_refuses_to_change_what_is_logged(log: AccessLog) -> None:
    if isinstance(log, MemoryAccessLog):
        pytest.skip("no database")
    assert isinstance(log, SqlAccessLog)
    log.append([event(1)])
    for statement in ("UPDATE access_log SET actor = 'user/eve'", "DELETE FROM access_log"):
        with pytest.raises(StorageError, match="only added to"), log.database.transaction() as connection:
            connection.exec_driver_sql(statement)
    assert len(list(log.entries())) == 1
