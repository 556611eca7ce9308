"""The SQLite catalogue: durability settings, migrations, locked and damaged databases."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine, inspect

from server.repositories.migrate import alembic_config
from server.repositories.sql_catalogue import SqlSceneCatalogue
from server.repositories.sqlite import SqliteFile
from server.repositories.tables import metadata
from shared_models.errors import StorageError, StorageFullError
from tests.loopback import make_scene

MANIFEST = make_scene().manifest


def test_scenes_survive_reopening(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    first = SqlSceneCatalogue(SqliteFile(path))
    first.add(MANIFEST, stored_at_ns=7)
    first.close()
    again = SqlSceneCatalogue(SqliteFile(path))
    assert again.get(MANIFEST.scene_id).stored_at_ns == 7
    again.close()


def test_every_commit_is_synced(tmp_path: Path) -> None:
    catalogue = SqlSceneCatalogue(SqliteFile(tmp_path / "catalogue.sqlite"))
    with catalogue.database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    catalogue.close()


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_migrations_make_the_tables_that_the_code_uses(table: str, tmp_path: Path) -> None:
    SqlSceneCatalogue(SqliteFile(tmp_path / "migrated.sqlite")).close()
    declared = create_engine(f"sqlite:///{tmp_path / 'declared.sqlite'}")
    metadata.create_all(declared)
    migrated = create_engine(f"sqlite:///{tmp_path / 'migrated.sqlite'}")
    described = [
        (
            [(c["name"], str(c["type"]), c["nullable"], c["primary_key"]) for c in inspect(engine).get_columns(table)],
            sorted((i["name"], tuple(i["column_names"])) for i in inspect(engine).get_indexes(table)),
            [u["column_names"] for u in inspect(engine).get_unique_constraints(table)],
            [(f["constrained_columns"], f["referred_table"]) for f in inspect(engine).get_foreign_keys(table)],
        )
        for engine in (declared, migrated)
    ]
    declared.dispose()
    migrated.dispose()
    assert described[0] == described[1]


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    SqlSceneCatalogue(SqliteFile(path)).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(StorageError, match="newer version"):
        SqlSceneCatalogue(SqliteFile(path))


def test_migration_cut_off_halfway_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalogue.sqlite"

    def fail(*_: object, **__: object) -> None:
        raise StorageError("power cut")

    monkeypatch.setattr("alembic.op.create_index", fail)
    with pytest.raises(StorageError, match="power cut"):
        SqlSceneCatalogue(SqliteFile(path))
    monkeypatch.undo()
    catalogue = SqlSceneCatalogue(SqliteFile(path))
    assert catalogue.counts().scenes == 0
    catalogue.close()


def test_scenes_from_before_guards_were_kept_say_so(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    catalogue = SqlSceneCatalogue(SqliteFile(path))
    catalogue.add(MANIFEST, stored_at_ns=7, guard="noise")
    with catalogue.database.transaction(is_writing=True) as connection:
        command.downgrade(alembic_config(connection), "0005")
    catalogue.close()
    with sqlite3.connect(path) as database:
        assert "guard" not in [row[1] for row in database.execute("PRAGMA table_info(scenes)")]
    database.close()
    again = SqlSceneCatalogue(SqliteFile(path))
    (stored,) = again.scenes()
    assert (stored.manifest, stored.guard) == (MANIFEST, "")
    again.close()


def test_no_database(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    path.write_bytes(b"this is no database, but long enough to look like one" * 100)
    with pytest.raises(StorageError, match="not a database"):
        SqlSceneCatalogue(SqliteFile(path))


def test_locked_database_is_a_storage_error_and_recovers(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    catalogue = SqlSceneCatalogue(SqliteFile(path, busy_timeout_s=0.01))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match="locked"):
        catalogue.add(MANIFEST, stored_at_ns=1)
    other.execute("ROLLBACK")
    other.close()
    assert catalogue.add(MANIFEST, stored_at_ns=2).stored_at_ns == 2
    catalogue.close()


def test_full_database(tmp_path: Path) -> None:
    catalogue = SqlSceneCatalogue(SqliteFile(tmp_path / "catalogue.sqlite"))
    with catalogue.database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.commit()
    added: list[str] = []

    def add_until_full() -> None:
        for number in range(1_000):
            added.append(catalogue.add(make_scene(number, size=1).manifest, stored_at_ns=0).scene_id)

    with pytest.raises(StorageFullError, match="no space left"):
        add_until_full()
    assert [stored.scene_id for stored in catalogue.scenes()] == added
    catalogue.close()
