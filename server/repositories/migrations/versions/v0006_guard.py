"""What vehicles did to the features."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of scenes that are there already only the payloads know."""
    op.add_column("scenes", sa.Column("guard", sa.String(400), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("scenes", "guard")
