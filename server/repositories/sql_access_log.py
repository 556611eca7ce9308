"""The log of access in the catalogue's database."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields

from sqlalchemy import Connection, insert, select, update

from server.repositories.access_log import AccessLog, Action, Entry, Event, Head, chained
from server.repositories.database import Database
from server.repositories.tables import access_log, access_log_head
from shared_models.errors import StorageError

_PAGE = 2000
_FIELDS = tuple(each.name for each in fields(Entry))
_COLUMNS = [access_log.c[name] for name in _FIELDS]
# Made once, because a statement costs more to build than to execute.
_INSERT = insert(access_log)
_HEAD = select(access_log_head.c.sequence, access_log_head.c.sha256)
_MOVE_HEAD = update(access_log_head)


class SqlAccessLog(AccessLog):
    """Entries in `database`, which whoever made it closes."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def append(self, events: Sequence[Event]) -> Head:
        with self.database.transaction(is_writing=True) as connection:
            return append_within(connection, events)

    def entries(self, after: int = 0, actions: Collection[Action] | None = None) -> Iterator[Entry]:
        query = select(*_COLUMNS).order_by(access_log.c.sequence).limit(_PAGE)
        if actions is not None:
            query = query.where(access_log.c.action.in_([action.value for action in actions]))
        while True:
            with self.database.transaction() as connection:
                rows = connection.execute(query.where(access_log.c.sequence > after)).all()
            yield from (Entry(**row._asdict()) for row in rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1].sequence

    def head(self) -> Head:
        with self.database.transaction() as connection:
            return _head(connection)


def append_within(connection: Connection, events: Sequence[Event]) -> Head:
    """Add entries in a transaction that was begun with `is_writing`: no other one can come in between."""
    head = _head(connection)
    entries = chained(head, events)
    if not entries:
        return head
    connection.execute(_INSERT, [{name: getattr(entry, name) for name in _FIELDS} for entry in entries])
    head = Head(sequence=entries[-1].sequence, sha256=entries[-1].sha256)
    connection.execute(_MOVE_HEAD, {"sequence": head.sequence, "sha256": head.sha256})
    return head


def _head(connection: Connection) -> Head:
    # Kept beside the entries: where the last of them are taken away, the next one shows that some are missing.
    row = connection.execute(_HEAD).one_or_none()
    if row is None:
        raise StorageError("the log of access has lost its end (table access_log_head): restore it from a backup")
    return Head(sequence=row.sequence, sha256=row.sha256)
