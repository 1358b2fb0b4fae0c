"""Jobs: handed in, taken, answered; each exactly once, whatever dies in between.

A job is answered by one transaction, which turns its state to ``done`` and writes its record. A server that was killed
before it leaves a lease that runs out, and another server, or the same one started anew, takes the job again. A server
that lost its lease and answers all the same finds the job done, and its answer is dropped.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, insert, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from sdk.serve.database import Database
from sdk.serve.tables import deliveries, jobs, keys, pictures, records, uploads

OPEN = ("queued", "running")
"""States from which a job can be answered."""
Kind = Literal["image", "video"]
"""What a job's file is; videos take longer, and are examined beside the others."""


@dataclass(frozen=True, slots=True)
class Job:
    """One upload of one tenant."""

    id: str
    tenant: str
    content: str
    input_sha256: str
    input_bytes: int
    state: str = "queued"
    attempts: int = 0
    created: float = 0.0
    finished: float | None = None
    action: str | None = None
    problem: str | None = None
    kind: Kind = "image"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a job is answered with."""

    action: str
    sealed: Callable[[str | None], str]
    """The record's text, given the digest of the one before it."""
    pictures: Mapping[str, bytes]


_FIELDS = [jobs.c[name] for name in Job.__dataclass_fields__]


def job_id(tenant: str, key: str) -> str:
    """Name of the job for an examination with ``key`` (:func:`sdk.evidence.record.job_key`) of one tenant."""
    return hashlib.sha256(f"{tenant}\0{key}".encode()).hexdigest()[:32]


class Jobs:
    """All jobs in one database."""

    def __init__(self, database: Database, *, owner: str, lease_seconds: float, max_attempts: int) -> None:
        self._database, self._owner = database, owner
        self._lease, self._attempts = lease_seconds, max_attempts

    def hand_in(self, job: Job, data: bytes) -> Job:
        """Queue ``job``, or return it as it is if it was handed in before; one that failed is queued again."""
        with self._database.write() as connection:
            if _insert(connection, job):
                connection.execute(insert(uploads).values(job_id=job.id, data=data))
                return self._get(connection, job.id) or job
            again = update(jobs).where(jobs.c.id == job.id, jobs.c.state == "failed")
            if connection.execute(again.values(state="queued", attempts=0, problem=None, finished=None)).rowcount:
                connection.execute(insert(uploads).values(job_id=job.id, data=data))
            return self._get(connection, job.id) or job

    def begin(self, job: Job, data: bytes) -> bool:
        """Let ``job``, which we run already, be known: it can be asked for, and is taken by another if we go away.

        False if it was known.
        """
        mine = {"state": "running", "owner": self._owner, "lease_until": time.time() + self._lease, "attempts": 1}
        with self._database.write() as connection:
            if not _insert(connection, job):
                return False
            connection.execute(insert(uploads).values(job_id=job.id, data=data))
            connection.execute(update(jobs).where(jobs.c.id == job.id).values(**mine))
        return True

    def take(self, kind: Kind = "image") -> tuple[Job, bytes] | None:
        """The job of that kind that has waited longest, now ours, and its file; None if none waits."""
        now = time.time()
        waiting = (jobs.c.kind == kind) & or_(
            jobs.c.state == "queued", (jobs.c.state == "running") & (jobs.c.lease_until < now)
        )
        oldest = select(jobs.c.id).where(waiting).order_by(jobs.c.created).limit(1).with_for_update(skip_locked=True)
        taking = update(jobs).where(jobs.c.id == oldest.scalar_subquery()).returning(*_FIELDS)
        mine = {"state": "running", "owner": self._owner, "lease_until": now + self._lease}
        with self._database.write() as connection:
            while row := connection.execute(taking.values(attempts=jobs.c.attempts + 1, **mine)).one_or_none():
                job = Job(*row)
                if job.attempts <= self._attempts:
                    file = select(uploads.c.data).where(uploads.c.job_id == job.id)
                    return job, bytes(connection.execute(file).scalar_one())
                self._fail(connection, job.id, f"it was begun {job.attempts - 1} times and never ended")
        return None

    def answer(self, job: Job, answer: Answer, *, synced: bool = True) -> tuple[Job, str] | None:
        """Write the answer to ``job``, handed in or not: the job with its record's text; None if another came first.

        Where it was handed in, nobody may be waiting: the tenant's webhook, if there is one, is to be sent the answer.
        One that is not ``synced`` may be lost with the power, as if the job had not been examined.
        """
        now = time.time()
        done = {"state": "done", "finished": now, "action": answer.action}
        with self._database.write(chained=True, synced=synced) as connection:
            is_awaited = _insert(connection, job, **done)
            if not is_awaited:
                open_one = update(jobs).where(jobs.c.id == job.id, jobs.c.state.in_((*OPEN, "failed")))
                if not connection.execute(open_one.values(**done, problem=None, owner=None)).rowcount:
                    return None
            last = select(records.c.digest).order_by(records.c.number.desc()).limit(1)
            text = answer.sealed(connection.execute(last).scalar_one_or_none())
            digest = hashlib.sha256(text.encode()).hexdigest()
            connection.execute(insert(records).values(job_id=job.id, text=text, digest=digest))
            for name, data in answer.pictures.items():
                connection.execute(insert(pictures).values(job_id=job.id, name=name, data=data))
            if not is_awaited:
                _tell(connection, job.id, now)
                connection.execute(delete(uploads).where(uploads.c.job_id == job.id))
            ended = job if is_awaited else self._get(connection, job.id) or job
        return replace(ended, state="done", finished=now, action=answer.action), text

    def tell(self, job: Job) -> None:
        """Let the tenant's webhook be sent how ``job`` ended, if it has and it was not."""
        ended = select(jobs.c.id).where(jobs.c.id == job.id, jobs.c.state.not_in(OPEN))
        told = select(deliveries.c.job_id).where(deliveries.c.job_id == job.id)
        with self._database.write() as connection:
            if connection.execute(ended.where(~told.exists())).one_or_none():
                _tell(connection, job.id, time.time())

    def give_back(self, job: Job, *, counts: bool = True) -> None:
        """Let a job that is ours be taken again at once: the machine could not run it, or the server ends.

        Unless it ``counts`` the attempt is as if it had not been made.
        """
        mine = update(jobs).where(jobs.c.id == job.id, jobs.c.owner == self._owner, jobs.c.state == "running")
        with self._database.write() as connection:
            attempts = jobs.c.attempts if counts else jobs.c.attempts - 1
            connection.execute(mine.values(state="queued", owner=None, attempts=attempts))

    def fail(self, job: Job, problem: str) -> None:
        """End a job that is ours and cannot be answered because of ``problem``."""
        with self._database.write() as connection:
            self._fail(connection, job.id, problem)

    def keep_leases(self, running: Collection[str]) -> None:
        """Renew the leases of those of our jobs that are ``running``; one that could not be given back runs out."""
        mine = update(jobs).where(jobs.c.id.in_(running), jobs.c.owner == self._owner, jobs.c.state == "running")
        with self._database.write() as connection:
            connection.execute(mine.values(lease_until=time.time() + self._lease))

    def take_over(self) -> int:
        """Let every running job be taken at once, where no other server can be running any; how many there were."""
        with self._database.write() as connection:
            running = update(jobs).where(jobs.c.state == "running")
            return connection.execute(running.values(state="queued", owner=None)).rowcount

    def get(self, job_id: str) -> tuple[Job, str | None] | None:
        """A job and the text of its record."""
        joined = select(*_FIELDS, records.c.text).select_from(jobs.outerjoin(records)).where(jobs.c.id == job_id)
        with self._database.read() as connection:
            row = connection.execute(joined).one_or_none()
        return None if row is None else (Job(*row[:-1]), row[-1])

    def picture(self, job_id: str, name: str) -> bytes | None:
        """A picture that was kept."""
        one = select(pictures.c.data).where(pictures.c.job_id == job_id, pictures.c.name == name)
        with self._database.read() as connection:
            found = connection.execute(one).scalar_one_or_none()
        return None if found is None else bytes(found)

    def waiting(self, kind: Kind | None = None) -> tuple[int, float]:
        """How many jobs, of that kind or of all, are queued, and for how long the first has been, seconds."""
        queued = select(func.count(), func.min(jobs.c.created)).where(jobs.c.state == "queued")
        if kind is not None:
            queued = queued.where(jobs.c.kind == kind)
        with self._database.read() as connection:
            count, first = connection.execute(queued).one()
        return count, max(0.0, time.time() - first) if count else 0.0

    def purge(self, *, before: float) -> int:
        """Delete the pictures of jobs that were answered ``before``; how many."""
        old = select(jobs.c.id).where(jobs.c.finished < before)
        with self._database.write() as connection:
            return connection.execute(delete(pictures).where(pictures.c.job_id.in_(old))).rowcount

    @staticmethod
    def _get(connection: Connection, job_id: str) -> Job | None:
        row = connection.execute(select(*_FIELDS).where(jobs.c.id == job_id)).one_or_none()
        return None if row is None else Job(*row)

    def _fail(self, connection: Connection, job_id: str, problem: str) -> None:
        mine = update(jobs).where(jobs.c.id == job_id, jobs.c.owner == self._owner, jobs.c.state == "running")
        failing = mine.values(state="failed", finished=time.time(), problem=problem, owner=None)
        if connection.execute(failing).rowcount:  # else another server has it by now, and needs the file
            connection.execute(delete(uploads).where(uploads.c.job_id == job_id))
            _tell(connection, job_id, time.time())


def _tell(connection: Connection, job_id: str, now: float) -> None:
    """Let the webhook of the key that handed a job in be sent how it ended."""
    address = select(jobs.c.id, keys.c.webhook, literal("pending"), literal(0), literal(now)).where(
        jobs.c.id == job_id, keys.c.name == jobs.c.tenant, keys.c.webhook.is_not(None), keys.c.revoked.is_(None)
    )
    connection.execute(delete(deliveries).where(deliveries.c.job_id == job_id))
    connection.execute(insert(deliveries).from_select(["job_id", "url", "state", "attempts", "next_at"], address))


_GIVEN = ("id", "tenant", "content", "input_sha256", "input_bytes", "kind")


def _insert(connection: Connection, job: Job, **more: Any) -> bool:  # noqa: ANN401  values of columns
    """Insert ``job``, as queued unless ``more`` says otherwise; False if it is there."""
    kind: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    values = {name: getattr(job, name) for name in _GIVEN}
    fresh = kind(jobs).values(
        {**values, "state": "queued", "attempts": 0, "created": job.created or time.time(), **more}
    )
    return connection.execute(fresh.on_conflict_do_nothing().returning(jobs.c.id)).one_or_none() is not None
