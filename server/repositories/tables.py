"""The tables of catalogue and run log as SQLAlchemy sees them; migrations/versions makes them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Integer, MetaData, String, Table, Text

metadata = MetaData()
_SORTED_NAME = String(200).with_variant(String(200, collation="C"), "postgresql")  # code point by code point, as SQLite

scenes = Table(
    "scenes",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("scene_id", String(64), nullable=False, unique=True),
    Column("vehicle_id", String(200), nullable=False, index=True),
    Column("frame_id", String(200), nullable=False),
    Column("timestamp_ns", BigInteger, nullable=False),
    Column("codec", String(200), nullable=False),
    Column("split_layer", String(200), nullable=False),
    Column("backbone_hash", String(64), nullable=False, index=True),
    Column("payload_sha256", String(64), nullable=False, index=True),
    Column("payload_bytes", BigInteger, nullable=False),
    Column("stored_at_ns", BigInteger, nullable=False),
    Column("region", String(200), nullable=False, server_default="", index=True),
    Column("guard", String(400), nullable=False, server_default=""),  # no index: each costs time for every upload
    sqlite_autoincrement=True,
)

runs = Table(
    "runs",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("run_id", _SORTED_NAME, nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("recipe", String(200), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("created_at_ns", BigInteger, nullable=False),
    Column("state", String(20), nullable=False),
    Column("run_file", Text, nullable=False),
    Column("run_file_sha256", String(64), nullable=False),
    Column("code_version", String(200), nullable=False),
    Column("message", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("total_steps", BigInteger, nullable=False),
    Column("heartbeat_ns", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# Without row ids the primary key is the table's order: a curve is read in one go, and a resumed step replaces its row.
run_scalars = Table(
    "run_scalars",
    metadata,
    Column("run", Integer, ForeignKey("runs.sequence"), primary_key=True),
    Column("name", _SORTED_NAME, primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("value", Float, nullable=True),  # SQLite keeps NaN as NULL
    Column("at_ns", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

run_evaluations = Table(
    "run_evaluations",
    metadata,
    Column("run", Integer, ForeignKey("runs.sequence"), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("report", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

access_log = Table(
    "access_log",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("actor", String(300), nullable=False),
    Column("action", String(20), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous_sha256", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
)

access_log_head = Table(
    "access_log_head",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),  # there is a single row, 1
    Column("sequence", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
)

# Payloads of deleted scenes, until somebody has looked whether another scene has them and removed them if not.
payloads_to_remove = Table(
    "payloads_to_remove",
    metadata,
    Column("payload_sha256", String(64), primary_key=True),
)

# Scenes that were deleted and are not taken again.
refused_scenes = Table(
    "refused_scenes",
    metadata,
    Column("scene_id", String(64), primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
)

# What all servers of a catalogue must have alike; the first one writes it down.
agreements = Table(
    "agreements",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("value", String(200), nullable=False),
)
