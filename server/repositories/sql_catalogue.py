"""The catalogue in a SQL database, through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    union_all,
)

from server.repositories.database import Database
from server.repositories.removal import Removal
from server.repositories.repository import (
    CatalogueCounts,
    SceneCatalogue,
    SceneFilter,
    StoredScene,
    VehicleSummary,
    merge_summaries,
    new_scene,
    refused_again,
)
from server.repositories.scene_events import refusal_event, removal_events, upload_event
from server.repositories.sql_access_log import SqlAccessLog, append_within
from server.repositories.tables import agreements, payloads_to_remove, refused_scenes, scenes
from shared_models.errors import PermissionDeniedError
from shared_models.records import SceneManifest

_PAGE = 500
_MANIFEST_COLUMNS = [scenes.c[each.name] for each in fields(SceneManifest)]
_MANIFEST_FIELDS = tuple(each.name for each in fields(SceneManifest))
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
# Made once, because a statement costs more to build than to execute.
_SCENES = select(scenes.c.sequence, scenes.c.scene_id, scenes.c.stored_at_ns, scenes.c.guard, *_MANIFEST_COLUMNS)
_BY_IDS = _SCENES.where(scenes.c.scene_id.in_(_IDS))
# One statement for the two, of which most often neither has a row.
_STORED, _REFUSED = "stored", "refused"
_STATES = union_all(
    select(scenes.c.scene_id, literal_column(f"'{_STORED}'").label("state")).where(scenes.c.scene_id.in_(_IDS)),
    select(refused_scenes.c.scene_id, literal_column(f"'{_REFUSED}'")).where(refused_scenes.c.scene_id.in_(_IDS)),
)
_INSERT = insert(scenes)


class SqlSceneCatalogue(SceneCatalogue):
    """Stored scenes in `database`, which belongs to the catalogue from then on."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.log = SqlAccessLog(database)

    def add(
        self,
        manifest: SceneManifest,
        stored_at_ns: int,
        scene_id: str | None = None,
        actor: str | None = None,
        guard: str = "",
    ) -> StoredScene:
        made = new_scene(manifest, stored_at_ns, scene_id, guard)
        with self.database.transaction(is_writing=True) as connection:
            (added,) = _add(connection, [made], actor)
        if isinstance(added, PermissionDeniedError):
            raise added
        return added

    def add_many(self, new: Sequence[StoredScene]) -> list[StoredScene | PermissionDeniedError]:
        with self.database.transaction(is_writing=True) as connection:
            size = _PAGE // 2  # each id is given twice, and old SQLite takes 999 values
            pages = (new[start : start + size] for start in range(0, len(new), size))
            return [each for page in pages for each in _add(connection, page, None)]

    def remove(self, scene_ids: Iterable[str], removal: Removal | None = None) -> list[StoredScene]:
        wanted, rows, removal = iter(scene_ids), list[Row[Any]](), removal or Removal()
        with self.database.transaction(is_writing=True) as connection:
            while page := list(islice(wanted, _PAGE)):
                rows += connection.execute(_select().where(scenes.c.scene_id.in_(page)))
                connection.execute(delete(scenes).where(scenes.c.scene_id.in_(page)))
            removed = [_stored_scene(row) for row in sorted(rows, key=lambda row: row.sequence)]
            _remember_payloads(connection, {scene.manifest.payload_sha256 for scene in removed})
            if removed and removal.is_refused_again:
                refused = [{"scene_id": scene.scene_id, "at_ns": removal.at_ns} for scene in removed]
                connection.execute(insert(refused_scenes), refused)
            append_within(connection, removal_events(removed, removal))
        return removed

    def refuse(self, scene_ids: Collection[str], removal: Removal) -> None:
        wanted, new = iter(sorted(set(scene_ids))), 0
        with self.database.transaction(is_writing=True) as connection:
            while page := list(islice(wanted, _PAGE // 2)):  # each id is given twice
                states = _states(connection, page)
                rows = [{"scene_id": i, "at_ns": removal.at_ns} for i in page if _REFUSED not in states.get(i, ())]
                if rows:
                    connection.execute(insert(refused_scenes), rows)
                    new += len(rows)
            if new:
                append_within(connection, [refusal_event(new, removal)])

    def payloads_to_remove(self) -> list[str]:
        with self.database.transaction() as connection:
            return list(connection.execute(select(payloads_to_remove.c.payload_sha256)).scalars())

    def payloads_dealt_with(self, payload_sha256s: Collection[str]) -> None:
        remaining = iter(payload_sha256s)
        with self.database.transaction(is_writing=True) as connection:
            while page := list(islice(remaining, _PAGE)):
                connection.execute(delete(payloads_to_remove).where(payloads_to_remove.c.payload_sha256.in_(page)))

    def is_refused(self, scene_id: str) -> bool:
        with self.database.transaction() as connection:
            return _REFUSED in _states(connection, [scene_id]).get(scene_id, ())

    def known(self, scene_id: str) -> StoredScene | None:
        with self.database.transaction() as connection:
            states = _states(connection, [scene_id]).get(scene_id, ())
            found = _find(connection, [scene_id]) if _STORED in states else {}
        if states and not found:
            raise refused_again(scene_id)
        return found.get(scene_id)

    def find(self, scene_ids: Iterable[str]) -> dict[str, StoredScene]:
        found: dict[str, StoredScene] = {}
        wanted = iter(scene_ids)
        while page := list(islice(wanted, _PAGE)):
            with self.database.transaction() as connection:
                found |= _find(connection, page)
        return found

    def starting_with(self, prefix: str, limit: int) -> list[StoredScene]:
        # "g" follows all hexadecimal digits, whatever the database's alphabet is.
        query = _select().where(scenes.c.scene_id >= prefix, scenes.c.scene_id < prefix + "g").limit(limit)
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

    def agree(self, name: str, value: str) -> str:
        with self.database.transaction(is_writing=True) as connection:
            known = connection.execute(select(agreements.c.value).where(agreements.c.name == name)).scalar()
            if known is None:
                connection.execute(insert(agreements).values(name=name, value=value))
            return value if known is None else str(known)

    def close(self) -> None:
        self.database.close()

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self.database.transaction() as connection:
            return connection.execute(query).all()


def _fitting(query: Select[Any], where: SceneFilter | None) -> Select[Any]:
    return query.where(*_conditions(where)) if where else query


def _conditions(where: SceneFilter) -> Iterator[ColumnElement[bool]]:
    for name in SceneFilter.EXACT:
        if getattr(where, name) is not None:
            yield scenes.c[name] == getattr(where, name)
    if where.vehicle_ids is not None:
        yield scenes.c.vehicle_id.in_(sorted(where.vehicle_ids))
    bounds = (("timestamp_ns", where.taken_from_ns, where.taken_until_ns),
              ("stored_at_ns", where.stored_from_ns, where.stored_until_ns))  # fmt: skip
    for name, from_ns, until_ns in bounds:
        if from_ns is not None:
            yield scenes.c[name] >= from_ns
        if until_ns is not None:
            yield scenes.c[name] < until_ns


def _remember_payloads(connection: Connection, payload_sha256s: Collection[str]) -> None:
    column, remaining = payloads_to_remove.c.payload_sha256, iter(sorted(payload_sha256s))
    while page := list(islice(remaining, _PAGE)):
        known = set(connection.execute(select(column).where(column.in_(page))).scalars())
        if new := [{"payload_sha256": sha256} for sha256 in page if sha256 not in known]:
            connection.execute(insert(payloads_to_remove), new)


def _add(
    connection: Connection, new: Sequence[StoredScene], actor: str | None
) -> list[StoredScene | PermissionDeniedError]:
    ids = [scene.scene_id for scene in new]
    states = _states(connection, ids)
    found = _find(connection, [scene_id for scene_id, state in states.items() if _STORED in state]) if states else {}
    added: dict[str, StoredScene] = {}
    for scene in new:
        if scene.scene_id not in states:
            added.setdefault(scene.scene_id, scene)
    if added:
        connection.execute(_INSERT, [_row(scene) for scene in added.values()])
        append_within(connection, [upload_event(scene, actor) for scene in added.values()])
    found |= added
    return [found.get(scene_id) or refused_again(scene_id) for scene_id in ids]


def _states(connection: Connection, scene_ids: Sequence[str]) -> dict[str, set[str]]:
    """Which of the scenes are stored, or are not to be taken again; the others are left out."""
    states: dict[str, set[str]] = {}
    for scene_id, state in connection.execute(_STATES, {"ids": scene_ids}):
        states.setdefault(scene_id, set()).add(state)
    return states


def _find(connection: Connection, scene_ids: Sequence[str]) -> dict[str, StoredScene]:
    return {row.scene_id: _stored_scene(row) for row in connection.execute(_BY_IDS, {"ids": scene_ids})}


def _row(scene: StoredScene) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(scene.manifest, name) for name in _MANIFEST_FIELDS}
    return row | {"scene_id": scene.scene_id, "stored_at_ns": scene.stored_at_ns, "guard": scene.guard}


def _select() -> Select[Any]:
    return _SCENES


def _stored_scene(row: Row[Any]) -> StoredScene:
    manifest = SceneManifest(**{name: getattr(row, name) for name in _MANIFEST_FIELDS})
    return new_scene(manifest, row.stored_at_ns, row.scene_id, row.guard)
