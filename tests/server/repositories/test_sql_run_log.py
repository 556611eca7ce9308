"""The run log in a SQLite file: several processes, and one beside the catalogue's."""

from __future__ import annotations

import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command

from server.repositories import migrate
from server.repositories.sql_catalogue import SqlSceneCatalogue
from server.repositories.sql_run_log import SqlRunLog
from server.repositories.sqlite import SqliteFile
from shared_models.errors import StorageError, StorageFullError
from tests.loopback import make_scene
from tests.run_records import make_run

STEPS = 40


def write_run(path: Path, run_id: str) -> None:
    log = SqlRunLog(SqliteFile(path, busy_timeout_s=30.0, is_every_commit_synced=False))
    log.create(make_run(run_id))
    for step in range(STEPS):
        log.add_scalars(run_id, step, {"loss": step}, at_ns=step)
        log.update(run_id, at_ns=step, step=step)
    log.close()


def write_scenes(path: Path) -> None:
    catalogue = SqlSceneCatalogue(SqliteFile(path))
    for number in range(STEPS):
        catalogue.add(make_scene(number, size=1).manifest, stored_at_ns=number)
    catalogue.close()


def test_runs_and_a_server_write_at_once_from_processes_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_run, args=(path, "run-0"))]
    processes.append(context.Process(target=write_scenes, args=(path,)))
    for process in processes:
        process.start()
    write_run(path, "run-1")
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    log = SqlRunLog(SqliteFile(path, is_read_only=True))
    assert sorted(run.run_id for run in log.runs()) == ["run-0", "run-1"]
    for run in log.runs():
        assert [each.step for each in log.scalars(run.run_id)] == list(range(STEPS))
    log.close()
    catalogue = SqlSceneCatalogue(SqliteFile(path, is_read_only=True))
    assert catalogue.counts().scenes == STEPS
    catalogue.close()


def test_catalogue_of_an_earlier_version_is_brought_forward(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    catalogue = SqlSceneCatalogue(SqliteFile(path))
    catalogue.add(make_scene(0).manifest, stored_at_ns=5)
    catalogue.close()
    database = SqliteFile(path)
    with database.transaction(is_writing=True) as connection:
        command.downgrade(migrate.alembic_config(connection), "0001")
    database.close()
    log = SqlRunLog(SqliteFile(path))
    log.create(make_run())
    log.close()
    catalogue = SqlSceneCatalogue(SqliteFile(path, is_read_only=True))
    assert catalogue.counts().scenes == 1
    catalogue.close()


def test_writers_wait_for_each_other_and_give_up_with_a_storage_error(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    log = SqlRunLog(SqliteFile(path, busy_timeout_s=0.01))
    log.create(make_run())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked"):
        log.heartbeat("run-1", 1)
    assert log.run("run-1").run_id == "run-1"  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    log.heartbeat("run-1", 2_000)
    assert log.run("run-1").heartbeat_ns == 2_000
    log.close()


def test_full_disk(tmp_path: Path) -> None:
    log = SqlRunLog(SqliteFile(tmp_path / "catalogue.sqlite"))
    log.create(make_run())
    with log.database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.commit()
    with pytest.raises(StorageFullError, match="no space left"):
        log.add_scalars("run-1", 0, {f"name-{number}": 0.0 for number in range(10_000)}, at_ns=0)
    assert log.scalars("run-1") == []
    log.close()


def test_two_that_make_the_file_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as threads:
        opened = list(threads.map(lambda _: SqlRunLog(SqliteFile(tmp_path / "catalogue.sqlite")), range(6)))
    for log in opened:
        assert log.runs() == []
        log.close()
