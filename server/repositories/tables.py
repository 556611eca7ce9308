"""The tables of catalogue and run log as SQLAlchemy sees them; migrations/versions makes them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Integer, MetaData, String, Table, Text

metadata = MetaData()

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
    Column("region", String(200), nullable=False, server_default=""),
    sqlite_autoincrement=True,
)

runs = Table(
    "runs",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String(200), nullable=False, unique=True),
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
    Column("name", String(200), primary_key=True),
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
