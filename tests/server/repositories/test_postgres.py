"""The PostgreSQL database: migrations, several servers at once, being lost and found, and what messages say."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from server.repositories.postgres import PostgresConfig, PostgresDatabase, Writers
from server.repositories.sql_catalogue import SqlSceneCatalogue
from server.repositories.sql_run_log import SqlRunLog
from server.repositories.tables import metadata
from shared_models.errors import ConfigError, InvalidValueError, StorageError
from tests.loopback import free_port, make_scene
from tests.run_records import make_run
from tests.services import PASSWORD, PostgresServer

MANIFEST = make_scene().manifest
SHA256 = "ab" * 32


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[PostgresDatabase]:
    with closing(PostgresDatabase(postgres.empty_database())) as opened:
        yield opened


def test_migrations_make_the_tables_that_the_code_uses(database: PostgresDatabase) -> None:
    with database.transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_servers_that_start_at_once_migrate_once(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    with ThreadPoolExecutor(4) as threads:
        opened = list(threads.map(lambda _: PostgresDatabase(url), range(4)))
    for each in opened:
        each.close()
    name = url.rpartition("/")[2]
    assert postgres.execute("SELECT count(*) FROM alembic_version", name) == [(1,)]


def test_a_reader_changes_nothing(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    with pytest.raises(StorageError, match="has schema None"):
        PostgresDatabase(url, is_read_only=True)
    PostgresDatabase(url).close()
    with closing(SqlSceneCatalogue(PostgresDatabase(url, is_read_only=True))) as catalogue:
        with pytest.raises(StorageError, match="read-only"):
            catalogue.add(MANIFEST, stored_at_ns=1)
        assert catalogue.counts().scenes == 0


def test_newer_schema_is_refused(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    PostgresDatabase(url).close()
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", url.rpartition("/")[2])
    with pytest.raises(StorageError, match="newer version"):
        PostgresDatabase(url)


def test_other_encoding_is_refused(postgres: PostgresServer) -> None:
    with pytest.raises(StorageError, match="expected encoding UTF8, it has LATIN1"):
        PostgresDatabase(postgres.new_database(encoding="LATIN1"))


def test_names_are_compared_code_point_by_code_point(database: PostgresDatabase) -> None:
    log = SqlRunLog(database)
    for run_id in ("ä", "b", "a-1", "B", "a_1", "ab"):
        log.create(make_run(run_id))
        log.add_scalars("ä", 1, {run_id: 1.0}, at_ns=1)
    assert [each.name for each in log.scalars("ä")] == ["B", "a-1", "a_1", "ab", "b", "ä"]
    assert [run.run_id for run in log.starting_with("a", 9)] == ["a-1", "a_1", "ab"]


def test_a_lost_database_is_a_storage_error_and_is_found_again(postgres: PostgresServer) -> None:
    with closing(SqlSceneCatalogue(PostgresDatabase(postgres.empty_database()))) as catalogue:
        catalogue.add(MANIFEST, stored_at_ns=7)
        postgres.stop()
        try:
            for call in (lambda: catalogue.add(MANIFEST, stored_at_ns=8), catalogue.counts):
                with pytest.raises(StorageError, match="does not answer"):
                    call()
            with pytest.raises(StorageError, match="does not answer"):
                PostgresDatabase(postgres.url("shared"))
        finally:
            postgres.start()
        assert catalogue.add(MANIFEST, stored_at_ns=9).stored_at_ns == 7
        assert catalogue.counts().scenes == 1


def test_a_connection_cut_in_a_transaction_leaves_nothing(postgres: PostgresServer, database: PostgresDatabase) -> None:
    def write() -> None:
        with database.transaction(is_writing=True) as connection:
            connection.exec_driver_sql("INSERT INTO agreements VALUES ('a', 'b')")
            postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shared'")
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(StorageError, match="does not answer"):
        write()
    assert SqlSceneCatalogue(database).agree("a", "c") == "c"


def test_statements_end(database: PostgresDatabase, postgres: PostgresServer) -> None:
    config = PostgresConfig(statement_timeout_s=0.05)
    with closing(PostgresDatabase(postgres.url("shared"), config)) as impatient, database.transaction(is_writing=True):
        with pytest.raises(StorageError, match="statement timeout"):
            SqlSceneCatalogue(impatient).add(MANIFEST, stored_at_ns=1)
        with closing(PostgresDatabase(postgres.url("shared"), config, writers=Writers.RUN_LOG)) as other:
            SqlRunLog(other).create(make_run())  # training does not wait for servers


def test_holders_of_a_payload_share_it_and_whoever_removes_it_waits(
    postgres: PostgresServer, database: PostgresDatabase
) -> None:
    """Two servers that store the same payload do not wait; one that would remove it does, and then is alone."""
    events = list[str]()
    with closing(PostgresDatabase(postgres.url("shared"))) as other:

        def remove() -> None:
            with other.hold(SHA256, is_alone=True):
                events.append("removed")

        with database.hold(SHA256), other.hold(SHA256), other.hold("cd" * 32, is_alone=True):
            remover = threading.Thread(target=remove)
            remover.start()
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
            while postgres.execute(waiting) == [(0,)]:
                assert remover.is_alive()
            events.append("stored")
        remover.join()
    assert events == ["stored", "removed"]


def test_a_hold_that_was_lost_is_told(postgres: PostgresServer, database: PostgresDatabase) -> None:
    with pytest.raises(StorageError, match="does not answer"), database.hold(SHA256):
        postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shared'")


def test_the_password_is_in_no_message(postgres: PostgresServer) -> None:
    url = postgres.url("shared").replace("@127.0.0.1", "-wrong@127.0.0.1")
    with pytest.raises(StorageError, match="password authentication failed") as refused:
        PostgresDatabase(url)
    assert PASSWORD not in "".join(traceback.format_exception(refused.value))
    nowhere = f"postgresql://upcycle:{PASSWORD}@127.0.0.1:{free_port()}/x?application_name={PASSWORD}"
    with pytest.raises(StorageError, match="does not answer") as lost:
        PostgresDatabase(nowhere)
    assert PASSWORD not in "".join(traceback.format_exception(lost.value))


@pytest.mark.parametrize("url", [f"mysql://a:{PASSWORD}@b/c", f"postgresql://a:{PASSWORD}@b:port/c", PASSWORD])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError, match="expected postgresql://") as refused:
        PostgresDatabase(url)
    assert PASSWORD not in "".join(traceback.format_exception(refused.value))


def test_postgres_scheme_is_known_too(postgres: PostgresServer) -> None:
    with closing(PostgresDatabase(postgres.empty_database().replace("postgresql:", "postgres:"))) as database:
        assert database.name == f"postgresql://upcycle@127.0.0.1:{postgres.port}/shared"


def test_commits_are_synced_unless_it_is_a_run_log(postgres: PostgresServer) -> None:
    for is_synced, expected in ((True, "on"), (False, "off")):
        database = PostgresDatabase(postgres.url("shared"), is_every_commit_synced=is_synced)
        with closing(database), database.transaction() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == expected


def test_wrong_settings() -> None:
    with pytest.raises(InvalidValueError, match=r"PostgresConfig\.pool"):
        PostgresConfig(pool=0)


def test_the_test_server_asks_for_the_password(postgres: PostgresServer) -> None:
    """Otherwise the tests above would prove nothing."""
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.url("shared").replace(PASSWORD, "x"))
