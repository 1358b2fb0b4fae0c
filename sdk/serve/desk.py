"""The desk: uploads that somebody waits for and jobs that were queued are examined here, a few at once."""

from __future__ import annotations

import contextvars
import functools
import hashlib
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sdk.errors import MissingExtra, ServiceRefused
from sdk.evidence import pictures, record
from sdk.evidence.chain import Signer, seal
from sdk.serve import logs, tracing
from sdk.serve.dispatch import Dispatcher
from sdk.serve.jobs import Answer, Job, Jobs, Kind, job_id
from sdk.signatures import HEAD, is_video

if TYPE_CHECKING:
    from sdk.examiner import Examination, Examiner
    from sdk.serve.access import Tenant
    from sdk.serve.metrics import Metrics
    from sdk.serve.settings import Settings


Answered: TypeAlias = "tuple[Job, str] | None"


class Desk:
    """Examines pictures in ``settings.workers`` threads, and videos in others: nobody waits behind one of those."""

    def __init__(self, settings: Settings, examiner: Examiner, jobs: Jobs, *, metrics: Metrics) -> None:
        self._settings, self._examiner, self._jobs = settings, examiner, jobs
        self._metrics = metrics
        self._signer = Signer.read(Path(settings.sign)) if settings.sign else None
        self._threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="examine")
        self._watching = ThreadPoolExecutor(settings.videos_at_once, thread_name_prefix="watch")
        self._now: dict[str, Future[Answered]] = {}
        self._lock = threading.Lock()
        self._mean: dict[Kind, float] = {"image": 1.0, "video": 1.0}
        """Seconds of an examination."""
        made = functools.partial(Dispatcher, settings=settings, metrics=metrics)
        self._images = made("image", jobs, self._examine, threads=self._threads, at_once=settings.workers)
        self._videos = made("video", jobs, self._watch, threads=self._watching, at_once=settings.videos_at_once)

    def start(self) -> None:
        """Begin to take queued jobs."""
        for dispatcher in (self._images, self._videos):
            dispatcher.start()

    def stop(self) -> None:
        """Take no more jobs, end those that were begun; videos are given back, and begun anew by whoever takes them."""
        for dispatcher in (self._images, self._videos):
            dispatcher.stop()
        for threads in (self._threads, self._watching):
            threads.shutdown(wait=True)

    def job(self, tenant: Tenant, content: str, data: bytes) -> Job:
        """The job that examining ``data`` as ``content`` for ``tenant`` is: the same for the same."""
        self._examiner.policy.at(content)
        policies = [each.sha256 for each in (self._examiner.policy, self._examiner.shadow) if each]
        artifacts = [analyzer.artifact.digest for analyzer in self._examiner.analyzers.values()]
        digest = hashlib.sha256(data).hexdigest()
        key = record.job_key(digest, artifacts=artifacts, policies=policies, content=content)
        kind: Kind = "video" if is_video(data[:HEAD]) else "image"
        if kind == "video" and find_spec("av") is None:
            raise MissingExtra("av", extra="video", purpose="reading a video")
        return Job(job_id(tenant.name, key), tenant.name, content, digest, len(data), created=time.time(), kind=kind)

    def hand_in(self, job: Job, data: bytes) -> Job:
        """Queue ``job`` unless it was handed in before, or refuse it because too many wait."""
        known = self._jobs.get(job.id)
        if known is not None and known[0].state != "failed":
            self._metrics.repeats.inc()
            return known[0]
        room = functools.partial(self._check_room, job)
        room(*self._jobs.lengths(job))  # before the file is written, for nothing if there is none
        queued = self._jobs.hand_in(job, data, room=room)
        (self._videos if job.kind == "video" else self._images).call()
        return queued

    def _check_room(self, job: Job, waiting: int, own: int) -> None:
        """Refuse ``job`` if as many of its kind wait as may, of all keys or of its own."""
        settings = self._settings
        if waiting >= settings.max_queue:
            bound, problem = "max_queue", f"{waiting} jobs wait, as many as may"
        elif own >= max(1.0, settings.max_share * settings.max_queue):
            bound, problem = "share of max_queue", f"{own} jobs of this key wait, which is its share"
        else:
            return
        at_once = settings.videos_at_once if job.kind == "video" else settings.workers
        wait = max(1.0, waiting * self._mean[job.kind] / at_once)
        raise ServiceRefused(problem, remedy="come again", status=429, retry_after=wait, bound=bound)

    def at_once(self, job: Job, data: bytes) -> Future[Answered]:
        """Examine ``job`` without queueing it. Of one upload that comes twice at a time, one is examined.

        What becomes of it is the job and its record's text, or None if that is to be looked up.
        """
        known = self._jobs.get(job.id)
        if known is not None and known[0].state == "done":
            self._metrics.repeats.inc()
            done: Future[Answered] = Future()
            done.set_result((known[0], str(known[1])))
            return done
        with self._lock:
            examined = self._now.get(job.id)
            if examined is not None:
                return examined
            within = contextvars.copy_context()  # the request's span, for those of the examination
            examined = self._now[job.id] = self._threads.submit(within.run, self._wait_for, job, data)
        examined.add_done_callback(lambda _: self._now.pop(job.id, None))
        return examined

    def keep(self, job: Job, data: bytes) -> None:
        """Let ``job``, for whose examination nobody waits any longer, be asked for like one that was queued."""
        examined = self._now.get(job.id)
        if examined is None:  # it has ended meanwhile: answered, or else it is tried again
            self._jobs.hand_in(job, data)
        if examined is None or not self._jobs.begin(job, data):
            self._jobs.tell(job)
            return
        self._images.running.add(job.id)
        examined.add_done_callback(functools.partial(self._let_go, job))

    def _let_go(self, job: Job, examined: Future[Answered]) -> None:
        """A job that was kept and could not be examined is tried again, as a queued one."""
        self._images.running.discard(job.id)
        if examined.exception() is not None:
            self._jobs.give_back(job)

    def _wait_for(self, job: Job, data: bytes) -> Answered:
        settings = self._settings
        return self._examine(job, data, synced=settings.synced == "all", most_pixels=settings.large_pixels)

    def _watch(self, job: Job, data: bytes) -> None:
        self._examine(job, data, between=self._videos.go_on)

    def _examine(
        self,
        job: Job,
        data: bytes,
        *,
        between: Callable[[], None] = lambda: None,
        synced: bool = True,
        most_pixels: int = sys.maxsize,
    ) -> Answered:
        start = time.perf_counter()
        with tracing.span("imdl.examine", job=job.id, bytes=len(data)):
            asked = {"content": job.content, "sha256": job.input_sha256}
            found = self._examiner.examine(data, **asked, between=between, most_pixels=most_pixels)
        with tracing.span("imdl.answer", job=job.id, action=found.decision.action):
            kept = self._pictures(found)
            answer = Answer(found.decision.action, lambda last: self._sealed(found, last), kept)
            answered = self._jobs.answer(job, answer, synced=synced)
        self._mean[job.kind] += 0.1 * (time.perf_counter() - start - self._mean[job.kind])
        if answered:
            self._metrics.count(found)
            facts = {"job": job.id, "input": job.input_sha256[:12], "action": found.decision.action}
            logs.say("examined", **facts, ms=round(1e3 * (time.perf_counter() - start), 1))
        return answered

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
