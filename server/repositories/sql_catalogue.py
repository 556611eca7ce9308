"""The catalogue in one SQLite file (WAL, every commit synced), through SQLAlchemy."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Row, Select, func, insert, select
from sqlalchemy import exc as database_errors

from server.repositories.repository import (
    CatalogueCounts,
    SceneCatalogue,
    SceneFilter,
    StoredScene,
    VehicleSummary,
    merge_summaries,
)
from server.repositories.sqlite_engine import SqliteFile
from server.repositories.tables import scenes
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
        self._file = SqliteFile(path, busy_timeout_s, is_read_only)

    def add(self, manifest: SceneManifest, stored_at_ns: int | None = None, scene_id: str | None = None) -> StoredScene:
        scene_id = scene_id or manifest.scene_id
        row = {each.name: getattr(manifest, each.name) for each in fields(manifest)}
        row |= {"scene_id": scene_id, "stored_at_ns": time.time_ns() if stored_at_ns is None else stored_at_ns}
        try:
            with self._file.transaction(database_errors.IntegrityError) as connection:
                connection.execute(insert(scenes).values(row))
        except database_errors.IntegrityError:
            return self.find([scene_id])[scene_id]
        return StoredScene(manifest=manifest, stored_at_ns=row["stored_at_ns"], scene_id=scene_id)

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
        query = _fitting(_select(), where).order_by(scenes.c.sequence).limit(_PAGE)
        last = 0
        while rows := self._rows(query.where(scenes.c.sequence > last)):
            yield from map(_stored_scene, rows)
            last = rows[-1].sequence

    def newest(self, limit: int, offset: int = 0, where: SceneFilter | None = None) -> list[StoredScene]:
        query = _fitting(_select(), where).order_by(scenes.c.sequence.desc()).limit(limit).offset(offset)
        return [_stored_scene(row) for row in self._rows(query)]

    def has_payload(self, payload_sha256: str) -> bool:
        return bool(self._rows(_select().where(scenes.c.payload_sha256 == payload_sha256).limit(1)))

    def counts(self, where: SceneFilter | None = None) -> CatalogueCounts:
        columns = (func.count().label("scenes"), func.coalesce(func.sum(scenes.c.payload_bytes), 0).label("size"))
        (row,) = self._rows(_fitting(select(*columns).select_from(scenes), where))
        return CatalogueCounts(scenes=row.scenes, payload_bytes=row.size)

    def vehicles(self) -> list[VehicleSummary]:
        keys = (scenes.c.vehicle_id, scenes.c.codec, scenes.c.backbone_hash)
        size, last = func.sum(scenes.c.payload_bytes), func.max(scenes.c.stored_at_ns)
        sums = (func.count().label("scenes"), size.label("size"), last.label("last"))
        parts = (
            VehicleSummary(
                vehicle_id=row.vehicle_id,
                scenes=row.scenes,
                payload_bytes=row.size,
                last_stored_at_ns=row.last,
                codecs=(row.codec,),
                backbone_hashes=(row.backbone_hash,),
            )
            for row in self._rows(select(*keys, *sums).group_by(*keys))
        )
        return merge_summaries(parts)

    def close(self) -> None:
        self._file.close()

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._file.transaction() as connection:
            return connection.execute(query).all()


def _fitting(query: Select[Any], where: SceneFilter | None) -> Select[Any]:
    for each in fields(where) if where else ():
        value = getattr(where, each.name)
        query = query if value is None else query.where(scenes.c[each.name] == value)
    return query


def _select() -> Select[Any]:
    return select(scenes.c.sequence, scenes.c.scene_id, scenes.c.stored_at_ns, *_MANIFEST_COLUMNS)


def _stored_scene(row: Row[Any]) -> StoredScene:
    manifest = SceneManifest(**{column.name: getattr(row, column.name) for column in _MANIFEST_COLUMNS})
    return StoredScene(manifest=manifest, stored_at_ns=row.stored_at_ns, scene_id=row.scene_id)
