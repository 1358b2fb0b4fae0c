"""The desk: uploads that somebody waits for and jobs that were queued are examined here, a few at once."""

from __future__ import annotations

import contextvars
import functools
import hashlib
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from sdk.errors import SdkError, ServiceRefused
from sdk.evidence import pictures, record
from sdk.evidence.chain import Signer, seal
from sdk.serve import logs, tracing
from sdk.serve.jobs import Answer, Job, Jobs, job_id

if TYPE_CHECKING:
    from sdk.examiner import Examination, Examiner
    from sdk.serve.access import Tenant
    from sdk.serve.metrics import Metrics
    from sdk.serve.settings import Settings

POLL_SECONDS = 1.0
"""How often jobs of other servers are looked for; one's own start at once."""


class Desk:
    """Examines uploads in ``settings.workers`` threads."""

    def __init__(self, settings: Settings, examiner: Examiner, jobs: Jobs, *, metrics: Metrics) -> None:
        self._settings, self._examiner, self._jobs = settings, examiner, jobs
        self._metrics = metrics
        self._signer = Signer.read(Path(settings.sign)) if settings.sign else None
        self._threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="examine")
        self._free = threading.BoundedSemaphore(settings.workers)
        self._called = threading.Event()
        self._ending = threading.Event()
        self._now: dict[str, Future[None]] = {}
        self._running: set[str] = set()
        self._lock = threading.Lock()
        self._mean = 1.0
        self._renewed = 0.0
        self._dispatcher = threading.Thread(target=self._dispatch, name="dispatch")

    def start(self) -> None:
        """Begin to take queued jobs."""
        self._dispatcher.start()

    def stop(self) -> None:
        """Take no more jobs, end those that were begun."""
        self._ending.set()
        self._called.set()
        self._dispatcher.join()
        self._threads.shutdown(wait=True)

    def job(self, tenant: Tenant, content: str, data: bytes) -> Job:
        """The job that examining ``data`` as ``content`` for ``tenant`` is: the same for the same."""
        self._examiner.policy.at(content)
        policies = [each.sha256 for each in (self._examiner.policy, self._examiner.shadow) if each]
        artifacts = [analyzer.artifact.digest for analyzer in self._examiner.analyzers.values()]
        digest = hashlib.sha256(data).hexdigest()
        key = record.job_key(digest, artifacts=artifacts, policies=policies, content=content)
        return Job(job_id(tenant.name, key), tenant.name, content, digest, len(data), created=time.time())

    def hand_in(self, job: Job, data: bytes) -> Job:
        """Queue ``job`` unless it was handed in before, or refuse it because too many wait."""
        known = self._jobs.get(job.id)
        if known is not None and known[0].state != "failed":
            self._metrics.repeats.inc()
            return known[0]
        waiting, _ = self._jobs.waiting()
        if waiting >= self._settings.max_queue:
            wait = max(1.0, waiting * self._mean / self._settings.workers)
            raise ServiceRefused(f"{waiting} jobs wait", remedy="come again", status=429, retry_after=wait)
        queued = self._jobs.hand_in(job, data)
        self._called.set()
        return queued

    def at_once(self, job: Job, data: bytes) -> Future[None]:
        """Examine ``job`` without queueing it. Of one upload that comes twice at a time, one is examined."""
        known = self._jobs.get(job.id)
        if known is not None and known[0].state == "done":
            self._metrics.repeats.inc()
            done: Future[None] = Future()
            done.set_result(None)
            return done
        with self._lock:
            examined = self._now.get(job.id)
            if examined is not None:
                return examined
            within = contextvars.copy_context()  # the request's span, for those of the examination
            examined = self._now[job.id] = self._threads.submit(within.run, self._examine, job, data)
        examined.add_done_callback(lambda _: self._now.pop(job.id, None))
        return examined

    def keep(self, job: Job, data: bytes) -> None:
        """Let ``job``, for whose examination nobody waits any longer, be asked for like one that was queued."""
        examined = self._now.get(job.id)
        if examined is None:  # it has ended meanwhile
            return
        self._running.add(job.id)
        self._jobs.begin(job, data)
        examined.add_done_callback(functools.partial(self._let_go, job))

    def _let_go(self, job: Job, examined: Future[None]) -> None:
        """A job that was kept and could not be examined is tried again, as a queued one."""
        self._running.discard(job.id)
        if examined.exception() is not None:
            self._jobs.give_back(job)

    def _dispatch(self) -> None:
        while not self._ending.is_set():
            if not self._free.acquire(timeout=POLL_SECONDS):
                self._renew()
                continue
            taken = self._taken()
            if taken is None:
                self._free.release()
                self._called.wait(POLL_SECONDS)
            else:
                self._running.add(taken[0].id)
                self._threads.submit(self._run, *taken).add_done_callback(lambda _: self._free.release())

    def _taken(self) -> tuple[Job, bytes] | None:
        self._renew()
        self._called.clear()
        try:
            return self._jobs.take()
        except Exception:  # the database is away: it may come back
            logs.logger.exception("jobs cannot be taken")
            return None

    def _renew(self) -> None:
        """Renew leases when a third of their time has passed."""
        if time.monotonic() - self._renewed < self._settings.lease_seconds / 3:
            return
        self._renewed = time.monotonic()
        try:
            self._jobs.keep_leases(self._running.copy())
        except Exception:  # the next time may be early enough
            logs.logger.exception("leases cannot be renewed")

    def _run(self, job: Job, data: bytes) -> None:
        try:
            self._examine(job, data, tell=True)
        except Exception as error:
            logs.logger.exception("a job could not be run", extra={"facts": {"job": job.id}})
            self._metrics.failures.labels(type(error).__name__).inc()
            if job.attempts >= self._settings.max_attempts:
                problem = error.problem if isinstance(error, SdkError) else type(error).__name__
                self._jobs.fail(job, problem)
            else:
                self._jobs.give_back(job)
        finally:
            self._running.discard(job.id)

    def _examine(self, job: Job, data: bytes, *, tell: bool = False) -> None:
        start = time.perf_counter()
        with tracing.span("imdl.examine", job=job.id, bytes=len(data)):
            found = self._examiner.examine(data, content=job.content)
        with tracing.span("imdl.answer", job=job.id, action=found.decision.action):
            kept = self._pictures(found)
            answer = Answer(found.decision.action, lambda last: self._sealed(found, last), kept)
            first = self._jobs.answer(job, answer, tell=tell)
        self._mean += 0.1 * (time.perf_counter() - start - self._mean)
        if first:
            self._metrics.count(found)
            facts = {"job": job.id, "input": job.input_sha256[:12], "action": found.decision.action}
            logs.say("examined", **facts, ms=round(1e3 * (time.perf_counter() - start), 1))

    def _sealed(self, found: Examination, previous: str | None) -> str:
        return seal(found.record, previous=previous, signer=self._signer)

    def _pictures(self, found: Examination) -> dict[str, bytes]:
        """Heatmaps and frame, small, where they are to be looked at."""
        keep = self._settings.keep
        if not found.analyses or keep == "none" or (keep == "flagged" and found.decision.action == "pass"):
            return {}
        maps = {name: analysis.heatmap for name, analysis in found.analyses.items()}
        kept = {f"heatmap:{name}": pictures.heatmap_png(found) for name, found in maps.items() if found is not None}
        return kept | {"frame": pictures.frame_jpeg(next(iter(found.analyses.values())).frame)}
