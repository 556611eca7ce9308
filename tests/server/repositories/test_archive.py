"""Reading a server's folder changes nothing there; one writer at a time."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from server.repositories.archive import open_archive, open_run_log, sole_writer
from shared_models.errors import NotFoundError, StorageError
from tests.loopback import make_scene
from tests.run_records import make_run


def tree(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def add(folder: Path, number: int) -> None:
    archive = open_archive(folder, is_new_allowed=True)
    archive.catalogue.add(make_scene(number).manifest, stored_at_ns=number)
    archive.close()


def test_reading_changes_nothing(tmp_path: Path) -> None:
    add(tmp_path, 0)
    (tmp_path / "partial").rmdir()
    before = tree(tmp_path)
    os.chmod(tmp_path, 0o555)
    try:
        archive = open_archive(tmp_path)
        assert [stored.manifest.frame_id for stored in archive.catalogue.scenes()] == ["000000"]
        archive.close()
    finally:
        os.chmod(tmp_path, 0o755)
    assert tree(tmp_path) == before


def test_reader_sees_what_a_running_server_adds(tmp_path: Path) -> None:
    add(tmp_path, 0)
    reader = open_archive(tmp_path)
    writer = open_archive(tmp_path, is_new_allowed=True)
    writer.catalogue.add(make_scene(1).manifest, stored_at_ns=1)
    assert (tmp_path / "catalogue.sqlite-wal").exists()
    assert reader.catalogue.counts().scenes == 2
    writer.close()
    assert reader.catalogue.counts().scenes == 2
    reader.close()


def test_a_new_folder_and_those_above_it_are_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[str] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.readlink(f"/proc/self/fd/{descriptor}")))
    with sole_writer(tmp_path / "new" / "data"):
        assert {str(tmp_path), str(tmp_path / "new")} <= synced


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    add(tmp_path, 0)
    reader = open_archive(tmp_path)
    with pytest.raises(StorageError, match="readonly"):
        reader.catalogue.add(make_scene(1).manifest, stored_at_ns=1)
    reader.close()


def test_a_reader_does_not_migrate(tmp_path: Path) -> None:
    add(tmp_path, 0)
    with sqlite3.connect(tmp_path / "catalogue.sqlite") as database:
        database.execute("UPDATE alembic_version SET version_num = '0000'")
    database.close()
    with pytest.raises(StorageError, match="schema 0000"):
        open_archive(tmp_path)


def test_second_writer_is_refused(tmp_path: Path) -> None:
    with (
        sole_writer(tmp_path),
        pytest.raises(StorageError, match="another server is running"),
        sole_writer(tmp_path),
    ):
        pass


def test_an_error_of_the_body_is_not_taken_for_a_second_writer(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), sole_writer(tmp_path):
        raise BlockingIOError


def test_run_log_lies_beside_the_scenes(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no server data here; .*`upcycle train --data`"):
        open_run_log(tmp_path)
    with sole_writer(tmp_path):
        add(tmp_path, 0)
        log = open_run_log(tmp_path, is_new_allowed=True)  # while a server holds the folder
        log.create(make_run("a"))
        archive, reader = open_archive(tmp_path), open_run_log(tmp_path)
        assert [run.run_id for run in reader.runs()] == ["a"]
        assert archive.catalogue.counts().scenes == 1
        with pytest.raises(StorageError, match="readonly"):
            reader.heartbeat("a", 1)
        for opened in (log, archive, reader):
            opened.close()
