"""Jobs know whether their file is a video: those are examined beside the others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column."""
    op.add_column("jobs", sa.Column("kind", sa.String(8), nullable=False, server_default="image"))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("jobs", "kind")
