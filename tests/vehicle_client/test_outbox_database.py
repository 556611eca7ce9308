"""The outbox's index: older and newer forms of it, and who may have it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from shared_models.errors import StorageError
from vehicle_client.outbox_database import (
    SCHEMA_VERSION,
    add_to_counter,
    lock_directory,
    open_database,
    storage_errors,
)

OLD = """
CREATE TABLE scenes (sequence INTEGER PRIMARY KEY, scene_id TEXT, manifest TEXT, payload_bytes INTEGER,
    priority INTEGER);
CREATE TABLE dead_letters (sequence INTEGER PRIMARY KEY, scene_id TEXT, manifest TEXT, reason TEXT);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO scenes (scene_id, manifest, payload_bytes, priority)
    VALUES ('a', '', 1, 0), ('b', '', 1, 2), ('c', '', 1, 9);
INSERT INTO dead_letters (scene_id, manifest, reason) VALUES ('d', '', ''), ('e', '', ''), ('a', '', '');
INSERT INTO counters VALUES ('delivered', 7);
PRAGMA user_version = 1;
"""


def make_old(folder: Path) -> None:
    database = sqlite3.connect(folder / "outbox.sqlite")
    database.executescript(OLD)
    database.close()


def rows(database: sqlite3.Connection, query: str) -> list[tuple[object, ...]]:
    return database.execute(query).fetchall()


def test_commits_are_on_disk_when_they_return(tmp_path: Path):
    database = open_database(tmp_path)
    assert rows(database, "PRAGMA journal_mode") == [("wal",)]
    assert rows(database, "PRAGMA synchronous") == [(2,)]  # FULL
    assert rows(database, "PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_an_old_index_is_taken_over(tmp_path: Path):
    make_old(tmp_path)
    for folder, name, content in (("dead", "d", b"12345"), ("payloads", "a", b"1"), ("payloads", "e", b"123")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(content)
    database = open_database(tmp_path)
    assert rows(database, "SELECT scene_id, priority FROM scenes") == [("a", 1), ("b", 2), ("c", 3)]
    letters = rows(database, "SELECT scene_id, payload_bytes FROM dead_letters")
    assert letters == [
        ("d", 5),
        ("e", 3),
        ("a", None),
    ]  # what waits in payloads/ under the name of a is not the letter's
    add_to_counter(database, "delivered", 2)
    assert rows(database, "SELECT * FROM counters") == [("delivered", 9)]


def test_an_index_that_was_cut_off_while_it_was_made_is_made_anew(tmp_path: Path):
    make_old(tmp_path)
    half = sqlite3.connect(tmp_path / "outbox.sqlite")
    half.executescript("DELETE FROM scenes; DROP TABLE dead_letters; PRAGMA user_version = 0;")
    half.close()
    database = open_database(tmp_path)
    for table in ("scenes", "dead_letters", "counters"):
        assert rows(database, f"SELECT COUNT(*) FROM {table}") == [(0,)]


def test_a_newer_index_is_left_alone(tmp_path: Path):
    open_database(tmp_path).execute("PRAGMA user_version = 99").connection.close()
    before = (tmp_path / "outbox.sqlite").read_bytes()
    with pytest.raises(StorageError, match="newer version \\(schema 99, this build reads 2\\)"):
        open_database(tmp_path)
    assert (tmp_path / "outbox.sqlite").read_bytes() == before


def test_a_folder_has_one_user(tmp_path: Path):
    lock_directory(tmp_path)
    with pytest.raises(StorageError, match="in use by another process"):
        lock_directory(tmp_path)


def test_a_damaged_index_is_named(tmp_path: Path):
    (tmp_path / "outbox.sqlite").write_bytes(b"no database " * 1000)
    with pytest.raises(StorageError, match="check the disk"), storage_errors(tmp_path):
        open_database(tmp_path)
