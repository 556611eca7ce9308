"""The catalogue of stored scenes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of scenes."""
    op.create_table(
        "scenes",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("scene_id", sa.String(64), nullable=False, unique=True),
        sa.Column("vehicle_id", sa.String(200), nullable=False),
        sa.Column("frame_id", sa.String(200), nullable=False),
        sa.Column("timestamp_ns", sa.BigInteger, nullable=False),
        sa.Column("codec", sa.String(200), nullable=False),
        sa.Column("split_layer", sa.String(200), nullable=False),
        sa.Column("backbone_hash", sa.String(64), nullable=False),
        sa.Column("payload_sha256", sa.String(64), nullable=False),
        sa.Column("payload_bytes", sa.BigInteger, nullable=False),
        sa.Column("stored_at_ns", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    for column in ("vehicle_id", "backbone_hash", "payload_sha256"):
        op.create_index(f"ix_scenes_{column}", "scenes", [column])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("scenes")
