"""What people decided about uploads that were flagged: stored, and exported as labels for the next training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, insert, select

from sdk.errors import ServiceRefused
from sdk.serve.database import Database
from sdk.serve.tables import decisions, jobs, records

Word = Literal["confirm", "dismiss", "unsure"]
FLAGGED = ("block", "review")


@dataclass(frozen=True, slots=True)
class Flagged:
    """An upload in the queue."""

    id: str
    action: str
    content: str
    finished: float


@dataclass(frozen=True, slots=True)
class Decided:
    """What a person decided, with what it was about."""

    number: int
    job_id: str
    reviewer: str
    decision: str
    note: str
    created: float
    input_sha256: str
    content: str
    action: str
    record: str
    """SHA-256 of the record's text."""


class Reviews:
    """The queue and the decisions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def queue(self, *, limit: int) -> tuple[list[Flagged], int]:
        """The uploads that nobody has decided about, blocked ones first, then the oldest; and how many there are."""
        nobody = ~select(decisions.c.job_id).where(decisions.c.job_id == jobs.c.id).exists()
        waiting = (jobs.c.state == "done") & jobs.c.action.in_(FLAGGED) & nobody
        columns = [jobs.c[name] for name in Flagged.__dataclass_fields__]
        some = select(*columns).where(waiting).order_by(jobs.c.action, jobs.c.finished, jobs.c.id).limit(limit)
        with self._database.read() as connection:
            total = connection.execute(select(func.count()).where(waiting)).scalar_one()
            return [Flagged(*row) for row in connection.execute(some)], total

    def decide(self, job_id: str, word: Word, *, reviewer: str, note: str = "") -> None:
        """Store a decision; a later one about the same upload stands beside it, and counts."""
        values = {"job_id": job_id, "reviewer": reviewer, "decision": word, "note": note, "created": time.time()}
        with self._database.write() as connection:
            flagged = select(jobs.c.id).where(jobs.c.id == job_id, jobs.c.action.in_(FLAGGED), jobs.c.state == "done")
            if connection.execute(flagged).one_or_none() is None:
                raise ServiceRefused(
                    "no such upload was flagged", remedy="take one of the queue: GET /v1/review/queue", status=404
                )
            connection.execute(insert(decisions).values(**values))

    def of(self, job_id: str) -> list[Decided]:
        """The decisions about one upload, the latest last."""
        return list(self._read(job_id))

    def all(self) -> Iterator[Decided]:
        """Every decision, the latest last."""
        return self._read(None)

    def _read(self, job_id: str | None) -> Iterator[Decided]:
        own = [decisions.c[name] for name in ("number", "job_id", "reviewer", "decision", "note", "created")]
        about = [jobs.c.input_sha256, jobs.c.content, jobs.c.action, records.c.digest]
        chosen = select(*own, *about).select_from(decisions.join(jobs).join(records, records.c.job_id == jobs.c.id))
        if job_id is not None:
            chosen = chosen.where(decisions.c.job_id == job_id)
        with self._database.read() as connection:
            for row in connection.execute(chosen.order_by(decisions.c.number)):
                yield Decided(*row)
