"""Queued jobs of one kind: taken, run, and given back if the server ends or the machine fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sdk.errors import SdkError, ServiceRefused
from sdk.serve import logs

if TYPE_CHECKING:
    from sdk.serve.jobs import Job, Jobs, Kind
    from sdk.serve.metrics import Metrics
    from sdk.serve.settings import Settings

POLL_SECONDS = 1.0
"""How often jobs of other servers are looked for; one's own start at once."""

RENEWALS = 3
"""How often a lease is renewed in its time."""


class Dispatcher:
    """Takes jobs of one kind, ``at_once`` at a time, and lets ``threads`` run them by ``examine``."""

    def __init__(
        self,
        kind: Kind,
        jobs: Jobs,
        examine: Callable[[Job, bytes], object],
        *,
        threads: ThreadPoolExecutor,
        at_once: int,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._kind, self._jobs, self._examine, self._threads = kind, jobs, examine, threads
        self._settings, self._metrics = settings, metrics
        self._free = threading.BoundedSemaphore(at_once)
        self._called, self._ending = threading.Event(), threading.Event()
        self._renewed = 0.0
        self.running: set[str] = set()
        """Jobs whose leases are renewed."""
        self._thread = threading.Thread(target=self._dispatch, name=f"dispatch {kind}")

    def start(self) -> None:
        """Begin to take queued jobs."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more jobs; those that were begun go on."""
        self._ending.set()
        self._called.set()
        self._thread.join()

    def call(self) -> None:
        """Say that a job was queued."""
        self._called.set()

    def go_on(self) -> None:
        """Called where a long examination can be broken off: refuses once the server ends."""
        if self._ending.is_set():
            raise ServiceRefused("the service ends", remedy="it goes on with the job when it is back", status=503)

    def _dispatch(self) -> None:
        while not self._ending.is_set():
            if not self._free.acquire(timeout=min(POLL_SECONDS, self._settings.lease_seconds / RENEWALS)):
                self._renew()
                continue
            taken = self._taken()
            if taken is None:
                self._free.release()
                self._called.wait(POLL_SECONDS)
            else:
                self.running.add(taken[0].id)
                self._threads.submit(self._run, *taken).add_done_callback(lambda _: self._free.release())
                del taken  # a video's file is large

    def _taken(self) -> tuple[Job, bytes] | None:
        self._renew()
        self._called.clear()
        try:
            return self._jobs.take(self._kind)
        except Exception:  # the database is away: it may come back
            logs.logger.exception("jobs cannot be taken")
            return None

    def _renew(self) -> None:
        """Renew leases when a third of their time has passed."""
        if time.monotonic() - self._renewed < self._settings.lease_seconds / RENEWALS:
            return
        self._renewed = time.monotonic()
        if not self.running:
            return
        try:
            self._jobs.keep_leases(self.running.copy())
        except Exception:  # the next time may be early enough
            logs.logger.exception("leases cannot be renewed")

    def _run(self, job: Job, data: bytes) -> None:
        try:
            self._examine(job, data)
        except ServiceRefused:
            self._jobs.give_back(job, counts=False)
        except Exception as error:
            logs.logger.exception("a job could not be run", extra={"facts": {"job": job.id}})
            self._metrics.failures.labels(type(error).__name__).inc()
            if job.attempts >= self._settings.max_attempts:
                problem = error.problem if isinstance(error, SdkError) else type(error).__name__
                self._jobs.fail(job, problem)
            else:
                self._jobs.give_back(job)
        finally:
            self.running.discard(job.id)
