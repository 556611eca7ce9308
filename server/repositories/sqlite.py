"""The catalogue in one SQLite file (WAL, every commit synced), through SQLAlchemy."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, create_engine, event, func, insert, select
from sqlalchemy import exc as database_errors
from sqlalchemy.pool import NullPool

from server.repositories.migrate import check_current, upgrade
from server.repositories.repository import CatalogueCounts, SceneCatalogue, SceneFilter, StoredScene
from server.repositories.tables import scenes
from shared_models.errors import StorageError, StorageFullError
from shared_models.records import SceneManifest

_PAGE = 500
_MANIFEST_COLUMNS = [scenes.c[each.name] for each in fields(SceneManifest)]


class SqliteSceneCatalogue(SceneCatalogue):
    """Stored scenes in the SQLite file `path`, which is made or brought to the newest schema first."""

    def __init__(self, path: Path, busy_timeout_s: float = 5.0, is_read_only: bool = False) -> None:
        """Open it; `is_read_only`: a file that is there already, also one of a running server, changing nothing.

        Raises:
            StorageError: the file cannot be used, is no such database, or was written by another version.
        """
        self.path = path
        self._engine = (_make_reader if is_read_only else _make_engine)(path, busy_timeout_s)
        with self._transaction() as connection:
            (check_current if is_read_only else upgrade)(connection, path)

    def add(self, manifest: SceneManifest, stored_at_ns: int | None = None) -> StoredScene:
        row = {each.name: getattr(manifest, each.name) for each in fields(manifest)}
        row |= {"scene_id": manifest.scene_id, "stored_at_ns": time.time_ns() if stored_at_ns is None else stored_at_ns}
        try:
            with self._transaction(database_errors.IntegrityError) as connection:
                connection.execute(insert(scenes).values(row))
        except database_errors.IntegrityError:
            return self.find([manifest.scene_id])[manifest.scene_id]
        return StoredScene(manifest=manifest, stored_at_ns=row["stored_at_ns"])

    def find(self, scene_ids: Iterable[str]) -> dict[str, StoredScene]:
        found: dict[str, StoredScene] = {}
        wanted = iter(scene_ids)
        while page := list(islice(wanted, _PAGE)):
            rows = self._rows(_select().where(scenes.c.scene_id.in_(page)))
            found.update((row.scene_id, _stored_scene(row)) for row in rows)
        return found

    def starting_with(self, prefix: str, limit: int) -> list[StoredScene]:
        query = _select().where(scenes.c.scene_id >= prefix, scenes.c.scene_id < prefix + "~").limit(limit)
        return [_stored_scene(row) for row in self._rows(query)]

    def scenes(self, where: SceneFilter | None = None) -> Iterator[StoredScene]:
        query = _select().order_by(scenes.c.sequence).limit(_PAGE)
        for each in fields(where) if where else ():
            value = getattr(where, each.name)
            query = query if value is None else query.where(scenes.c[each.name] == value)
        last = 0
        while rows := self._rows(query.where(scenes.c.sequence > last)):
            yield from map(_stored_scene, rows)
            last = rows[-1].sequence

    def has_payload(self, payload_sha256: str) -> bool:
        return bool(self._rows(_select().where(scenes.c.payload_sha256 == payload_sha256).limit(1)))

    def counts(self) -> CatalogueCounts:
        query = select(func.count(), func.coalesce(func.sum(scenes.c.payload_bytes), 0)).select_from(scenes)
        with self._transaction() as connection:
            count, total = connection.execute(query).one()
        return CatalogueCounts(scenes=count, payload_bytes=total)

    def close(self) -> None:
        self._engine.dispose()

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._transaction() as connection:
            return connection.execute(query).all()

    @contextmanager
    def _transaction(self, *let_through: type[database_errors.SQLAlchemyError]) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except let_through:
            raise
        except database_errors.SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error)
            if "full" in reason:
                raise StorageFullError(f"{self.path}: no space left on the server's disk; try again later") from error
            raise StorageError(
                f"{self.path}: the catalogue does not answer ({reason}): check the file, its disk and other users of it"
            ) from error


def _select() -> Select[Any]:
    return select(scenes.c.sequence, scenes.c.scene_id, scenes.c.stored_at_ns, *_MANIFEST_COLUMNS)


def _stored_scene(row: Row[Any]) -> StoredScene:
    manifest = SceneManifest(**{column.name: getattr(row, column.name) for column in _MANIFEST_COLUMNS})
    return StoredScene(manifest=manifest, stored_at_ns=row.stored_at_ns)


def _make_engine(path: Path, busy_timeout_s: float) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path.parent}: {error.strerror}: choose another folder for the server's data") from error
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": busy_timeout_s})
    event.listen(engine, "connect", _make_durable)
    event.listen(engine, "begin", _begin)
    return engine


def _make_reader(path: Path, busy_timeout_s: float) -> Engine:
    def connect() -> sqlite3.Connection:
        # A writer keeps a -wal file. Without one nothing changes the file, and only as "immutable" can SQLite read it
        # without making files beside it, which a read-only folder does not allow.
        has_writer = path.with_name(f"{path.name}-wal").exists()
        address = f"{path.absolute().as_uri()}?mode=ro{'' if has_writer else '&immutable=1'}"
        return sqlite3.connect(address, timeout=busy_timeout_s, uri=True, isolation_level=None, check_same_thread=False)

    # Connected anew for each query, for a server may start or stop meanwhile.
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    # Python's driver would begin by itself, but not before CREATE TABLE: a migration could be cut off halfway.
    connection.exec_driver_sql("BEGIN")


def _make_durable(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    execute: Callable[[str], Any] = connection.execute
    execute("PRAGMA journal_mode = WAL")
    execute("PRAGMA synchronous = FULL")
