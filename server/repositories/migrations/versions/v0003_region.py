"""Where scenes were taken."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; scenes that are there already have no region."""
    op.add_column("scenes", sa.Column("region", sa.String(200), nullable=False, server_default=""))
    op.create_index("ix_scenes_region", "scenes", ["region"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_scenes_region", "scenes")
    op.drop_column("scenes", "region")
