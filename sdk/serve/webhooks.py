"""Webhooks: a signed POST for each answered job, tried again with growing pauses, and given up at last.

A receiver may get one twice, when the service dies between a delivery and its being noted: the header ``Imdl-Delivery``
names the job, and is the same each time. The address is set with the key, by whoever runs the service; no request can
name one, and no redirect is followed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import http.client
import json
import os
import random
import secrets
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import bindparam, select, update

from sdk.errors import BadSetting
from sdk.serve import logs
from sdk.serve.outgoing import connected, target
from sdk.serve.tables import deliveries, jobs, records

if TYPE_CHECKING:
    from sdk.serve.database import Database
    from sdk.serve.metrics import Metrics

HELD = 3
"""For how many timeouts an attempt keeps other servers from making the same."""
LONGEST = 3600.0
"""Longest pause between two attempts, seconds."""
POLL_SECONDS = 0.5
_DUE = (
    select(deliveries.c.job_id)
    .where(deliveries.c.state == "pending", deliveries.c.next_at <= bindparam("now"))
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Due:
    """One delivery that is ours to attempt until ``until``."""

    job_id: str
    url: str
    body: bytes
    secret: str
    attempts: int
    until: float


class Sender:
    """Delivers what is due, several at once but one to a receiver, so that a slow one delays itself alone."""

    def __init__(
        self,
        database: Database,
        *,
        secret: bytes,
        attempts: int,
        pause: float,
        timeout: float,
        metrics: Metrics,
        at_once: int = 1,
    ) -> None:
        self._database, self._secret, self._attempts, self._pause = database, secret, attempts, pause
        self._timeout, self._metrics = timeout, metrics
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="webhook")
        self._free = threading.BoundedSemaphore(at_once)
        self._busy: set[str] = set()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="deliver")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the deliveries under way; the others wait in the database."""
        self._ending.set()
        self._thread.join()
        self._threads.shutdown(wait=True)

    def _deliver(self) -> None:
        while not self._ending.is_set():
            if not self._free.acquire(timeout=POLL_SECONDS):
                continue
            due = self._due()
            if due is None:
                self._free.release()
                self._ending.wait(POLL_SECONDS)
            else:
                self._busy.add(due.url)
                self._threads.submit(self._attempt, due).add_done_callback(functools.partial(self._let_go, due.url))

    def _let_go(self, url: str, attempted: Future[None]) -> None:
        self._busy.discard(url)
        self._free.release()
        if attempted.exception() is not None:  # it is tried again when it is no longer held
            logs.logger.error("a webhook's outcome cannot be noted", exc_info=attempted.exception())

    def _due(self) -> Due | None:
        """The delivery that has been due longest, held for us; None if none is due or the database is away."""
        try:
            return self._hold()
        except Exception:  # it may come back
            logs.logger.exception("webhooks cannot be delivered")
            return None

    def _hold(self) -> Due | None:
        now = time.time()
        if self._database.first(_DUE, {"now": now}) is None:  # nobody who writes is held up where there is nothing
            return None
        due = select(deliveries.c.job_id).where(
            deliveries.c.state == "pending", deliveries.c.next_at <= now, deliveries.c.url.not_in(self._busy.copy())
        )
        first = due.order_by(deliveries.c.next_at).limit(1).with_for_update(skip_locked=True).scalar_subquery()
        holding = update(deliveries).where(deliveries.c.job_id == first)
        columns = (deliveries.c.job_id, deliveries.c.url, deliveries.c.attempts)
        until = now + HELD * self._timeout
        held = holding.values(next_at=until, attempts=deliveries.c.attempts + 1).returning(*columns)
        with self._database.write() as connection:
            row = connection.execute(held).one_or_none()
            if row is None:
                return None
            told = select(jobs.c.tenant, jobs.c.state, jobs.c.problem, records.c.text).join(records, isouter=True)
            job = connection.execute(told.where(jobs.c.id == row.job_id)).one()
        record = json.loads(job.text) if job.text else None
        said = {"id": row.job_id, "state": job.state, "problem": job.problem, "record": record}
        body = json.dumps(said, sort_keys=True).encode()
        return Due(row.job_id, row.url, body, secret_of(self._secret, job.tenant), row.attempts, until)

    def _attempt(self, due: Due) -> None:
        problem = post(due.url, due.body, secret=due.secret, delivery=due.job_id, timeout=self._timeout)
        self._note(due.job_id, due.attempts, due.until, problem)

    def _note(self, job_id: str, attempts: int, until: float, problem: str) -> None:
        outcome = "delivered" if not problem else "dead" if attempts >= self._attempts else "pending"
        self._metrics.deliveries.labels("failed" if outcome == "pending" else outcome).inc()
        logs.say("webhook", job=job_id, outcome=outcome, attempt=attempts, problem=problem)
        values = {"state": outcome, "problem": problem, "next_at": time.time() + pause(attempts, self._pause)}
        mine = update(deliveries).where(deliveries.c.job_id == job_id, deliveries.c.next_at == until)
        with self._database.write() as connection:  # the job may have ended anew meanwhile: that is still to be told
            connection.execute(mine.values(**values))


def pause(attempts: int, first: float) -> float:
    """Seconds after the attempt with this number: doubled each time, and spread so that not all come at once."""
    return min(LONGEST, first * 2.0 ** (attempts - 1)) * random.uniform(0.5, 1.5)


def post(url: str, body: bytes, *, secret: str, delivery: str, timeout: float) -> str:
    """Send ``body``; why it failed, or nothing. After ``timeout`` seconds it has, whatever the receiver trickles."""
    address, moment = urlsplit(url), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "Imdl-Delivery": delivery,
        "Imdl-Time": moment,
        "Imdl-Signature": f"sha256={signature(secret, moment, body)}",
    }
    try:
        with connected(address, until=time.monotonic() + timeout) as connection:
            connection.request("POST", target(address), body, headers)
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{type(error).__name__}: {error}"[:200]
    return "" if 200 <= status < 300 else f"the receiver answered {status}"


def signature(secret: str, moment: str, body: bytes) -> str:
    """HMAC-SHA256 of ``moment``, a full stop and ``body``, in hexadecimal: a receiver compares it and the time."""
    return hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()


def secret_of(master: bytes, tenant: str) -> str:
    """The secret that a key's owner checks signatures with: derived, so that it is stored nowhere."""
    return hmac.new(master, f"webhook {tenant}".encode(), hashlib.sha256).hexdigest()


def master_secret(path: Path) -> bytes:
    """The secret in the file at ``path``, which is made, for its owner alone, where it is missing."""
    try:
        if not path.exists():
            _make_secret(path)
        secret = path.read_bytes().strip()
    except OSError as error:
        raise BadSetting(
            f"the secret in {path} cannot be read or made: {error.strerror}",
            remedy="let its folder be written and have room, or name another file: the setting secret",
        ) from error
    if len(secret) < 32:  # with none, everybody could sign
        raise BadSetting(f"the secret in {path} has {len(secret)} characters", remedy="delete the file: one is made")
    return secret


def _make_secret(path: Path) -> None:
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with open(fresh, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):  # another server was faster: both take its secret
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
