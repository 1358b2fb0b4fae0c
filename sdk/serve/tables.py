"""The tables. A change here needs a migration in ``migrations/versions``; a test compares the two."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

metadata = MetaData()

BEGUN = "begun IS NOT NULL"
"""Of few jobs: most uploads are waited for. PostgreSQL would use an index of all where it does not help."""

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),  # of tenant and examination: one upload of one tenant is one job
    Column("tenant", String(64), nullable=False),
    Column("content", String(64), nullable=False),
    Column("input_sha256", String(64), nullable=False),
    Column("input_bytes", Integer, nullable=False),
    Column("state", String(8), nullable=False),  # queued, running, done, failed
    Column("attempts", Integer, nullable=False),
    Column("owner", String(32)),  # the server that runs it
    Column("lease_until", Float),  # seconds since 1970, as are all times here
    Column("created", Float, nullable=False),
    Column("finished", Float),
    Column("action", String(8)),
    Column("problem", Text),  # of a job that failed
    Column("kind", String(8), nullable=False, server_default="image"),  # image, video
    Column("begun", Float),  # when it was last taken out of the queue
    Index("jobs_by_turn", "state", "kind", "tenant", "created"),
    Index("jobs_begun", "tenant", "kind", "begun", sqlite_where=text(BEGUN), postgresql_where=text(BEGUN)),
    Index("jobs_by_action", "action", "finished"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("job_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    Column("data", LargeBinary, nullable=False),  # the file; deleted with the answer
)

records = Table(
    "records",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # place in the chain
    Column("job_id", String(32), ForeignKey("jobs.id"), nullable=False, unique=True),  # one answer to a job
    Column("text", Text, nullable=False),
    Column("digest", String(64), nullable=False),
)

pictures = Table(
    "pictures",
    metadata,
    Column("job_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    Column("name", String(80), primary_key=True),  # frame, or heatmap: and a model's name
    Column("data", LargeBinary, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256 of the key, which is 256 random bits
    Column("role", String(8), nullable=False),  # submit, review
    Column("per_minute", Integer),
    Column("webhook", Text),
    Column("created", Float, nullable=False),
    Column("revoked", Float),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("job_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    Column("url", Text, nullable=False),
    Column("state", String(9), nullable=False),  # pending, delivered, dead
    Column("attempts", Integer, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("problem", Text),  # of the attempt before
    Index("deliveries_by_time", "state", "next_at"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("job_id", String(32), ForeignKey("jobs.id"), nullable=False, index=True),
    Column("reviewer", String(64), nullable=False),
    Column("decision", String(8), nullable=False),  # confirm, dismiss, unsure
    Column("note", Text, nullable=False),
    Column("created", Float, nullable=False),
)
