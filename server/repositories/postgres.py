"""A PostgreSQL database, which several servers may use at once: what must not run at once waits for its locks there.

Locks are PostgreSQL's advisory ones, each held by a transaction: they end with it, also where the server that holds one
dies. A lost database makes calls fail with StorageError; the next call connects anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy import exc as database_errors

from server.repositories.database import Database
from server.repositories.migrate import check_current, upgrade
from shared_models.errors import ConfigError, InvalidValueError, MissingDependencyError, StorageError, StorageFullError

_LOCKS = 0x55504359  # the first half of the keys of all locks but those of payloads
_FULL = frozenset({"53100"})  # disk_full: PostgreSQL's documentation, appendix A
_HEX_DIGITS_OF_A_KEY = 15  # 60 bits: a key is a signed 64-bit number


class Writers(IntEnum):
    """Whose writing transactions wait for each other; the number is the second half of their lock's key."""

    CATALOGUE = 2
    RUN_LOG = 3


_MIGRATION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresConfig:
    """How a server talks to PostgreSQL.

    pool: connections kept open; at most twice as many are opened. A scene that is being stored takes two.
    connect_timeout_s: whole seconds for connecting, and for waiting for a connection of the pool.
    statement_timeout_s: seconds after which a statement fails, waiting for locks included; migrations have no limit.
    idle_timeout_s: seconds after which the database ends a transaction in which nothing happens: longer than storing
        a payload takes, for a transaction protects it meanwhile.
    silent_network_s: seconds after which a connection whose other end does not answer is given up.
    """

    pool: int = 8
    connect_timeout_s: int = 5
    statement_timeout_s: float = 30.0
    idle_timeout_s: float = 300.0
    silent_network_s: int = 20

    def __post_init__(self) -> None:
        for name in ("pool", "connect_timeout_s", "statement_timeout_s", "idle_timeout_s", "silent_network_s"):
            if getattr(self, name) <= 0:
                raise InvalidValueError(f"PostgresConfig.{name}: expected more than 0, got {getattr(self, name)}")


class PostgresDatabase(Database):
    """One open PostgreSQL database."""

    def __init__(
        self,
        url: str,
        config: PostgresConfig | None = None,
        is_read_only: bool = False,
        is_every_commit_synced: bool = True,
        writers: Writers = Writers.CATALOGUE,
    ) -> None:
        """Connect, and bring the database to the newest schema first; several servers may do so at once.

        url: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, as libpq knows it.
        is_read_only: change nothing, not even the schema.
        is_every_commit_synced: a commit survives a power cut; without, it survives the end of the server.

        Raises:
            ConfigError: the URL cannot be read. MissingDependencyError: psycopg is not installed.
            StorageError: the database does not answer, or was written by another version.
        """
        parsed = _parsed(url)
        self.name = str(URL.create("postgresql", parsed.username, None, parsed.host, parsed.port, parsed.database))
        settings = {"synchronous_commit": "on" if is_every_commit_synced else "off"}
        settings |= {"default_transaction_read_only": "on"} if is_read_only else {}
        self._writers, self.engine = writers, _make_engine(parsed, config or PostgresConfig(), settings)
        try:
            self._prepare(is_read_only)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(
        self, *let_through: type[database_errors.SQLAlchemyError], is_writing: bool = False
    ) -> Iterator[Connection]:
        try:
            with self.engine.begin() as connection:
                if is_writing:
                    _lock(connection, self._writers)
                yield connection
        except let_through:
            raise
        except database_errors.SQLAlchemyError as error:
            raise self._ours(error) from error

    @contextmanager
    def hold(self, sha256: str, is_alone: bool = False) -> Iterator[None]:
        """Hold a payload as `PayloadStore.hold` says, against all servers of this database.

        Raises:
            StorageError: it cannot be held, or the database was lost meanwhile, so that nobody knows whether it was.
        """
        kind = "pg_advisory_xact_lock" if is_alone else "pg_advisory_xact_lock_shared"
        with self.transaction() as connection:
            connection.execute(text(f"SELECT {kind}(:key)"), {"key": int(sha256[:_HEX_DIGITS_OF_A_KEY], 16)})
            yield
            connection.execute(text("SELECT 1"))  # fails where the lock was lost

    def close(self) -> None:
        self.engine.dispose()

    def _prepare(self, is_read_only: bool) -> None:
        with self.transaction() as connection:
            encoding = connection.execute(text("SHOW server_encoding")).scalar()
            if encoding != "UTF8":
                raise StorageError(f"{self.name}: expected encoding UTF8, it has {encoding}: make it with that")
            if is_read_only:
                check_current(connection, self.name)
                return
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            _lock(connection, _MIGRATION)
            upgrade(connection, self.name)

    def _ours(self, error: database_errors.SQLAlchemyError) -> StorageError | StorageFullError:
        cause = getattr(error, "orig", None)
        if getattr(cause, "sqlstate", None) in _FULL:
            return StorageFullError(f"{self.name}: no space left on the database's disk; try again later")
        reason = str(cause or error).strip().partition("\n")[0]
        return StorageError(f"{self.name}: the database does not answer ({reason}): check it, its disk and the network")


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (database_errors.ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in ("postgresql", "postgres"):
        # Neither the URL nor the cause is shown: a password may be in both.
        raise ConfigError("the catalogue's URL: expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE") from None
    return parsed.set(drivername="postgresql+psycopg")


def _make_engine(url: URL, config: PostgresConfig, settings: dict[str, str]) -> Engine:
    settings = settings | {
        "statement_timeout": f"{config.statement_timeout_s * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{config.idle_timeout_s * 1000:.0f}",
    }
    arguments: dict[str, Any] = {
        "connect_timeout": config.connect_timeout_s,
        "application_name": "upcycle",
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        "keepalives_idle": max(config.silent_network_s // 2, 1),
        "keepalives_interval": max(config.silent_network_s // 6, 1),
        "keepalives_count": 3,
        "tcp_user_timeout": config.silent_network_s * 1000,
    }
    try:
        return create_engine(
            url,
            connect_args=arguments,
            pool_size=config.pool,
            max_overflow=config.pool,
            pool_timeout=config.connect_timeout_s,
            pool_pre_ping=True,  # a connection that the database has closed meanwhile is replaced, not used
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        raise MissingDependencyError('PostgreSQL needs psycopg: pip install "upcycle-fleet[scale]"') from error


def _lock(connection: Connection, number: int) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock, :number)"), {"lock": _LOCKS, "number": int(number)})
