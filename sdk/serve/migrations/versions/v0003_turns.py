"""Jobs know when they were begun: keys take turns, the one first whose last was begun the longest ago."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column, and indexes by which whose turn it is costs a few look-ups for each key with jobs that wait."""
    op.add_column("jobs", sa.Column("begun", sa.Float))
    op.drop_index("jobs_by_state", "jobs")
    op.create_index("jobs_by_turn", "jobs", ["state", "kind", "tenant", "created"])
    some = sa.text("begun IS NOT NULL")
    op.create_index("jobs_begun", "jobs", ["tenant", "kind", "begun"], sqlite_where=some, postgresql_where=some)


def downgrade() -> None:
    """Drop them."""
    op.drop_index("jobs_begun", "jobs")
    op.drop_index("jobs_by_turn", "jobs")
    op.create_index("jobs_by_state", "jobs", ["state", "created"])
    op.drop_column("jobs", "begun")
