"""Jobs: handed in, taken, answered; each exactly once, whatever dies in between.

A job is answered by one transaction, which turns its state to ``done`` and writes its record. A server that was killed
before it leaves a lease that runs out, and another server, or the same one started anew, takes the job again. A server
that lost its lease and answers all the same finds the job done, and its answer is dropped.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from sdk.serve.database import QUEUE_LOCKS, Database, asked
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
# What every upload asks is built once: building a statement takes longer than SQLite needs to execute it.
_ANSWERED = select(*_FIELDS, records.c.text).select_from(jobs.outerjoin(records)).where(jobs.c.id == bindparam("job"))
_LAST = select(records.c.digest).order_by(records.c.number.desc()).limit(1)
_RECORD, _PICTURE = insert(records).inline(), insert(pictures)
_OPEN = (
    select(jobs.c.id)
    .where((jobs.c.state == "queued") | (jobs.c.state == "running"), jobs.c.kind == bindparam("kind"))
    .limit(1)
)


def job_id(tenant: str, key: str) -> str:
    """Name of the job for an examination with ``key`` (:func:`sdk.evidence.record.job_key`) of one tenant."""
    return hashlib.sha256(f"{tenant}\0{key}".encode()).hexdigest()[:32]


class Jobs:
    """All jobs in one database."""

    def __init__(self, database: Database, *, owner: str, lease_seconds: float, max_attempts: int) -> None:
        self._database, self._owner = database, owner
        self._lease, self._attempts = lease_seconds, max_attempts

    def hand_in(self, job: Job, data: bytes, *, room: Callable[[int, int], None] = lambda _, own: None) -> Job:
        """Queue ``job``, or return it as it is if it was handed in before; one that failed is queued again.

        ``room`` is told how many others of its kind wait, of all tenants and of its own, and raises to keep it out.
        Nobody else is told the same number.
        """
        with self._database.write() as connection:
            if _queue(connection, job, data):
                self._database.wait_for(connection, QUEUE_LOCKS[job.kind])
                waiting, own = connection.execute(_lengths(job)).one()
                room(waiting - 1, own - 1)
            return self._get(connection, job.id) or job

    def begin(self, job: Job, data: bytes) -> bool:
        """Let ``job``, which we run already, be known: it can be asked for, and is taken by another if we go away.

        False if it was known and did not fail.
        """
        mine = {"state": "running", "owner": self._owner, "lease_until": time.time() + self._lease, "attempts": 1}
        with self._database.write() as connection:
            if not _queue(connection, job, data):
                return False
            connection.execute(update(jobs).where(jobs.c.id == job.id).values(**mine))
        return True

    def take(self, kind: Kind = "image") -> tuple[Job, bytes] | None:
        """A job of that kind, now ours, and its file; None if none waits.

        Tenants take turns: it is the turn of the one whose last job was begun the longest ago, with its oldest one.
        """
        if self._database.first(_OPEN, {"kind": kind}) is None:  # nobody who writes is held up where there is nothing
            return None
        with self._database.write() as connection:
            _reclaim(connection)
            for tenant in list(connection.execute(_in_turn(kind)).scalars()):
                while job := self._oldest(connection, kind, tenant):
                    if job.attempts <= self._attempts:
                        return job, _file(connection, job.id)
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
            inserted = _insert(connection, job, **done)
            is_awaited = inserted is not None
            if not is_awaited:
                open_one = update(jobs).where(jobs.c.id == job.id, jobs.c.state.in_((*OPEN, "failed")))
                if not connection.execute(open_one.values(**done, problem=None, owner=None)).rowcount:
                    return None
            last = inserted[1] if inserted else connection.execute(_LAST).scalar_one_or_none()
            text = answer.sealed(last)
            digest = hashlib.sha256(text.encode()).hexdigest()
            asked(
                connection.connection, connection.dialect, _RECORD, {"job_id": job.id, "text": text, "digest": digest}
            )
            for name, data in answer.pictures.items():
                connection.execute(_PICTURE, {"job_id": job.id, "name": name, "data": data})
            if not is_awaited:
                _tell(connection, job.id, now, anew=True)
                connection.execute(delete(uploads).where(uploads.c.job_id == job.id))
            ended = job if is_awaited else self._get(connection, job.id) or job
        return replace(ended, state="done", finished=now, action=answer.action), text

    def tell(self, job: Job) -> None:
        """Let the tenant's webhook be sent how ``job`` ended, if it has and nobody let it before."""
        with self._database.write() as connection:
            ended = select(jobs.c.id).where(jobs.c.id == job.id, jobs.c.state.not_in(OPEN))
            if connection.execute(ended).one_or_none():
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
        row = self._database.first(_ANSWERED, {"job": job_id})
        return None if row is None else (Job(*row[:-1]), row[-1])

    def picture(self, job_id: str, name: str) -> bytes | None:
        """A picture that was kept."""
        one = select(pictures.c.data).where(pictures.c.job_id == job_id, pictures.c.name == name)
        with self._database.read() as connection:
            found = connection.execute(one).scalar_one_or_none()
        return None if found is None else bytes(found)

    def lengths(self, job: Job) -> tuple[int, int]:
        """How many jobs of that kind wait, of all tenants and of its own."""
        with self._database.read() as connection:
            waiting, own = connection.execute(_lengths(job)).one()
        return waiting, own

    def waiting(self, kind: Kind) -> tuple[int, float]:
        """How many jobs of that kind wait, and for how long the oldest has, seconds."""
        queued = select(func.count(), func.min(jobs.c.created)).where(_queued(kind))
        with self._database.read() as connection:
            count, first = connection.execute(queued).one()
        return count, max(0.0, time.time() - first) if count else 0.0

    def purge(self, *, before: float) -> int:
        """Delete the pictures of jobs that were answered ``before``; how many."""
        old = select(jobs.c.id).where(jobs.c.finished < before)
        with self._database.write() as connection:
            return connection.execute(delete(pictures).where(pictures.c.job_id.in_(old))).rowcount

    def _oldest(self, connection: Connection, kind: Kind, tenant: str) -> Job | None:
        """The job of ``tenant`` that has waited longest, now ours; others that take one now are not waited for."""
        now = time.time()
        mine = {"state": "running", "owner": self._owner, "lease_until": now + self._lease, "begun": now}
        waiting = select(jobs.c.id).where(_queued(kind), jobs.c.tenant == tenant).order_by(jobs.c.created).limit(1)
        oldest = waiting.with_for_update(skip_locked=True).scalar_subquery()
        taking = update(jobs).where(jobs.c.id == oldest).values(attempts=jobs.c.attempts + 1, **mine)
        row = connection.execute(taking.returning(*_FIELDS)).one_or_none()
        return None if row is None else Job(*row)

    @staticmethod
    def _get(connection: Connection, job_id: str) -> Job | None:
        row = connection.execute(select(*_FIELDS).where(jobs.c.id == job_id)).one_or_none()
        return None if row is None else Job(*row)

    def _fail(self, connection: Connection, job_id: str, problem: str) -> None:
        mine = update(jobs).where(jobs.c.id == job_id, jobs.c.owner == self._owner, jobs.c.state == "running")
        failing = mine.values(state="failed", finished=time.time(), problem=problem, owner=None)
        if connection.execute(failing).rowcount:  # else another server has it by now, and needs the file
            connection.execute(delete(uploads).where(uploads.c.job_id == job_id))
            _tell(connection, job_id, time.time(), anew=True)


def _lengths(job: Job) -> Select[int, int]:
    """How many jobs of that kind wait, of all tenants and of its own."""
    every = select(func.count()).where(_queued(job.kind))
    return select(every.scalar_subquery(), every.where(jobs.c.tenant == job.tenant).scalar_subquery())


def _queued(kind: Kind) -> ColumnElement[bool]:
    """Of jobs of that kind that wait."""
    return (jobs.c.state == "queued") & (jobs.c.kind == kind)


@functools.cache
def _in_turn(kind: Kind) -> Select[str]:
    """Tenants with jobs that wait, in the order of their turns.

    They are looked up one by one in an index: ten thousand jobs of one tenant cost no more than one.
    """
    tenant, begun_ever = jobs.c.tenant, jobs.c.begun.is_not(None)
    waiting = select(tenant).where(_queued(kind)).order_by(tenant).limit(1)
    found = select(waiting.scalar_subquery().label("tenant")).cte("waiting", recursive=True)
    following = waiting.where(tenant > found.c.tenant).scalar_subquery()
    found = found.union_all(select(following).where(found.c.tenant.is_not(None)))
    last = select(func.max(jobs.c.begun)).where(jobs.c.kind == kind, tenant == found.c.tenant, begun_ever)
    created = select(func.min(jobs.c.created)).where(_queued(kind), tenant == found.c.tenant)
    turn = func.coalesce(last.scalar_subquery(), 0.0), created.scalar_subquery()
    return select(found.c.tenant).where(found.c.tenant.is_not(None)).order_by(*turn)


def _reclaim(connection: Connection) -> None:
    """Let jobs of servers that have gone away wait again; others that do so now are not waited for."""
    gone = select(jobs.c.id).where(jobs.c.state == "running", jobs.c.lease_until < time.time())
    lost = update(jobs).where(jobs.c.id.in_(gone.with_for_update(skip_locked=True)))
    connection.execute(lost.values(state="queued", owner=None))


def _file(connection: Connection, job_id: str) -> bytes:
    """The file of a job: from PostgreSQL in its own bytes, as text would take several times the memory."""
    if connection.dialect.name == "sqlite":
        return bytes(connection.execute(select(uploads.c.data).where(uploads.c.job_id == job_id)).scalar_one())
    driver: Any = connection.connection.driver_connection
    return bytes(driver.execute("SELECT data FROM uploads WHERE job_id = %s", (job_id,), binary=True).fetchone()[0])


def _write_file(connection: Connection, job_id: str, data: bytes) -> None:
    """Write the file of a job. SQLite keeps a copy of what a statement was given, until it is given something else."""
    if connection.dialect.name == "sqlite":
        for values in ((job_id, data), (None, None)):  # the latter is no row
            connection.exec_driver_sql("INSERT OR IGNORE INTO uploads (job_id, data) VALUES (?, ?)", values)
    else:
        connection.execute(insert(uploads).values(job_id=job_id, data=data))


def _tell(connection: Connection, job_id: str, now: float, *, anew: bool = False) -> None:
    """Let the webhook of the key that handed a job in be sent how it ended, once, or ``anew`` if it ends again."""
    address = select(jobs.c.id, keys.c.webhook, literal("pending"), literal(0), literal(now)).where(
        jobs.c.id == job_id, keys.c.name == jobs.c.tenant, keys.c.webhook.is_not(None), keys.c.revoked.is_(None)
    )
    if anew:
        connection.execute(delete(deliveries).where(deliveries.c.job_id == job_id))
    columns = ["job_id", "url", "state", "attempts", "next_at"]
    telling = _insertion(connection.dialect.name, deliveries).from_select(columns, address)
    connection.execute(telling.on_conflict_do_nothing())


def _queue(connection: Connection, job: Job, data: bytes) -> bool:
    """Let ``job`` wait, also one that failed; False if it was known."""
    failed = update(jobs).where(jobs.c.id == job.id, jobs.c.state == "failed")
    again = failed.values(state="queued", attempts=0, problem=None, finished=None)
    if not _insert(connection, job) and not connection.execute(again).rowcount:
        return False
    _write_file(connection, job.id, data)
    return True


_GIVEN = ("id", "tenant", "content", "input_sha256", "input_bytes", "kind")


def _insert(connection: Connection, job: Job, **more: Any) -> Sequence[Any] | None:  # noqa: ANN401  of columns
    """Insert ``job``, as queued unless ``more`` says otherwise: its id and the last digest; None if it is there."""
    values = {name: getattr(job, name) for name in _GIVEN}
    start = {"state": "queued", "attempts": 0, "created": job.created or time.time()}
    fresh = _unless_known(connection.dialect.name)
    return asked(connection.connection, connection.dialect, fresh, {**values, **start, **more})


@functools.cache
def _unless_known(dialect: str) -> Any:  # noqa: ANN401  of either kind of database
    """Inserts a job and returns its id and the digest of the last record, or nothing if it is there."""
    last = _LAST.scalar_subquery().label("last")
    return _insertion(dialect, jobs).on_conflict_do_nothing().returning(jobs.c.id, last)


def _insertion(dialect: str, table: Table) -> Any:  # noqa: ANN401  of either kind of database
    """An insertion that knows conflicts."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
