"""The log of training runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of runs, their numbers and their evaluations."""
    sorted_name = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")
    op.create_table(
        "runs",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("run_id", sorted_name, nullable=False, unique=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("recipe", sa.String(200), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("created_at_ns", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("run_file", sa.Text, nullable=False),
        sa.Column("run_file_sha256", sa.String(64), nullable=False),
        sa.Column("code_version", sa.String(200), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("total_steps", sa.BigInteger, nullable=False),
        sa.Column("heartbeat_ns", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "run_scalars",
        sa.Column("run", sa.Integer, sa.ForeignKey("runs.sequence"), primary_key=True),
        sa.Column("name", sorted_name, primary_key=True),
        sa.Column("step", sa.BigInteger, primary_key=True),
        sa.Column("value", sa.Float, nullable=True),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_evaluations",
        sa.Column("run", sa.Integer, sa.ForeignKey("runs.sequence"), primary_key=True),
        sa.Column("step", sa.BigInteger, primary_key=True),
        sa.Column("report", sa.Text, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("run_evaluations", "run_scalars", "runs"):
        op.drop_table(table)
