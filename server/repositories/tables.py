"""The catalogue's tables as SQLAlchemy sees them; migrations/versions makes them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table

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
    sqlite_autoincrement=True,
)
