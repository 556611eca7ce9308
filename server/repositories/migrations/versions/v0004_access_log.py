"""The log of access, with an entry for each scene that is stored already."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SQLITE_TRIGGERS = """
CREATE TRIGGER access_log_no_{name} BEFORE {what} ON access_log
BEGIN SELECT RAISE(ABORT, 'access_log is only added to'); END
"""
_POSTGRESQL_TRIGGER = (
    "CREATE FUNCTION access_log_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN RAISE EXCEPTION ''access_log is only added to''; END'",
    "CREATE TRIGGER access_log_no_change BEFORE UPDATE OR DELETE ON access_log "
    "FOR EACH STATEMENT EXECUTE FUNCTION access_log_refuse()",
)


def upgrade() -> None:
    """Make the tables, and begin the log."""
    log = op.create_table(
        "access_log",
        sa.Column(
            "sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False
        ),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(300), nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("previous_sha256", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
    head = op.create_table(
        "access_log_head",
        sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
    op.create_table("payloads_to_remove", sa.Column("payload_sha256", sa.String(64), primary_key=True))
    op.create_table(
        "refused_scenes",
        sa.Column("scene_id", sa.String(64), primary_key=True),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
    )
    sequence, sha256 = _log_what_is_stored(log)
    op.bulk_insert(head, [{"one": 1, "sequence": sequence, "sha256": sha256}])
    _refuse_changes()


def downgrade() -> None:
    """Drop them."""
    for table in ("access_log", "access_log_head", "payloads_to_remove", "refused_scenes"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION access_log_refuse()")


def _refuse_changes() -> None:
    """Against mistakes, not against who has the file: they can drop a trigger."""
    dialect = op.get_bind().dialect.name
    if dialect == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(_SQLITE_TRIGGERS.format(name=what.lower(), what=what))
    elif dialect == "postgresql":
        for statement in _POSTGRESQL_TRIGGER:
            op.execute(statement)


def _log_what_is_stored(log: sa.Table) -> tuple[int, str]:
    """Entries as docs/records.md defines them, written out here: a migration must not change with the program."""
    names = ("sequence", "scene_id", "vehicle_id", "payload_sha256", "payload_bytes", "stored_at_ns")
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in names]
    query = sa.select(*columns).select_from(sa.table("scenes", *columns)).order_by(columns[0]).limit(1000)
    number, last, head = 0, 0, "0" * 64
    while rows := op.get_bind().execute(query.where(columns[0] > last)).all():
        entries: list[dict[str, Any]] = []
        for row in rows:
            number += 1
            entry = {"sequence": number, "at_ns": row.stored_at_ns, "actor": "server/migration", "action": "upload",
                     "subject": row.scene_id, "detail": _detail(row), "previous_sha256": head}  # fmt: skip
            lines = "\n".join(("upcycle.access.v1", *(str(value) for value in entry.values())))
            head = hashlib.sha256(lines.encode()).hexdigest()
            entries.append(entry | {"sha256": head})
        op.bulk_insert(log, entries)
        last = rows[-1].sequence
    return number, head


def _detail(row: Any) -> str:
    tag = re.fullmatch(r"tag:([0-9a-f]{16})", row.vehicle_id)
    plain = hashlib.sha256(f"upcycle.vehicle-tag.v1\n{row.vehicle_id}".encode()).hexdigest()[:8]
    detail = {
        "bytes": row.payload_bytes,
        "payload_sha256": row.payload_sha256,
        "vehicle": tag[1] if tag else plain,
    }
    return json.dumps(detail, sort_keys=True, separators=(",", ":"))
