"""Webhooks that were given up: listed, and tried again once their receiver is mended."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import select, update

from sdk.serve.database import Database
from sdk.serve.tables import deliveries, jobs


@dataclass(frozen=True, slots=True)
class Dead:
    """One of them."""

    job_id: str
    tenant: str
    url: str
    attempts: int
    problem: str
    """Of the last attempt."""


def listed(database: Database) -> list[Dead]:
    """All of them, in the order in which they were given up."""
    columns = (deliveries.c.job_id, jobs.c.tenant, deliveries.c.url, deliveries.c.attempts, deliveries.c.problem)
    given_up = select(*columns).join(jobs).where(deliveries.c.state == "dead").order_by(deliveries.c.next_at)
    with database.read() as connection:
        return [Dead(*row) for row in connection.execute(given_up)]


def retry(database: Database) -> int:
    """Let all of them be tried as if they were new; how many."""
    given_up = update(deliveries).where(deliveries.c.state == "dead")
    with database.write() as connection:
        return connection.execute(given_up.values(state="pending", attempts=0, next_at=time.time())).rowcount
