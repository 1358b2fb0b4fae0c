"""Everything that one server holds, in the order in which it is opened and closed."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sdk import decoding_process, policy_file
from sdk.analyzer import Analyzer, load
from sdk.errors import BadSetting, SdkError, ServiceRefused
from sdk.examiner import Examiner
from sdk.integrations import locks
from sdk.metadata import MetadataReader
from sdk.serve import logs
from sdk.serve.access import Keys, Quotas
from sdk.serve.database import Database
from sdk.serve.desk import Desk
from sdk.serve.diagnosis import explained
from sdk.serve.gate import Gate
from sdk.serve.jobs import Jobs
from sdk.serve.metrics import Metrics
from sdk.serve.reviews import Reviews
from sdk.serve.settings import Settings
from sdk.serve.webhooks import Sender, master_secret

DAY = 86_400.0
PURGE_SECONDS = 3600.0
"""How often old pictures are deleted."""


class Service:
    """One server: ready when its models are loaded and warm."""

    def __init__(self, settings: Settings, *, give_up: Callable[[], None] = lambda: None) -> None:
        self.settings = settings
        self._give_up = give_up
        self.metrics = Metrics()
        self.gate = Gate(
            max_inflight=settings.max_inflight, max_bytes=settings.max_bytes_inflight, share=settings.max_share
        )
        self.quotas = Quotas(settings.per_minute)
        self.database = Database(settings.database)
        self.keys = Keys(self.database)
        self.reviews = Reviews(self.database)
        self.jobs = Jobs(
            self.database,
            owner=uuid.uuid4().hex,
            lease_seconds=settings.lease_seconds,
            max_attempts=settings.max_attempts,
        )
        self.failure = ""
        self.within_reach = ""
        """What of network and files the processes that decode uploads could not give up; empty if nothing."""
        self._desk: Desk | None = None
        self._open = ExitStack()
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self._is_prepared = False

    def prepare(self) -> None:
        """Prepare the database, whose only server this one is from here on if it is a file of SQLite. Idempotent.

        Raises:
            BadSetting: it cannot be used, or another server has it.
        """
        if self._is_prepared:
            return
        file = self.database.file
        if file is not None:
            self._open.enter_context(only_server(file))
        with explained(self.database):
            self.database.migrate()
            if file is not None:  # one file, one server: whoever ran these jobs is gone
                self.jobs.take_over()
        self._is_prepared = True

    def start(self) -> None:
        """Prepare the database and load the models, these in a thread of their own: see :attr:`desk`."""
        self.prepare()
        self._threads = [threading.Thread(target=work, name=work.__name__) for work in (self._load, self._purge)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End what was begun and release everything. Idempotent."""
        self.gate.draining = True
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._open.close()
        self.database.close()

    @property
    def is_ready(self) -> bool:
        """Whether uploads are examined: models are warm, and the service does not end."""
        return self._desk is not None and not self.gate.draining

    def has_room(self) -> bool:
        """Whether the database's disk has room for an upload: it takes one twice, in its log and in its file."""
        return self.database.has_room(2 * self.settings.max_bytes)

    @property
    def desk(self) -> Desk:
        """Where uploads are examined; refuses before the models are warm."""
        if self._desk is None:
            raise ServiceRefused("the models are being loaded", remedy="come again", status=503, retry_after=2.0)
        return self._desk

    def _load(self) -> None:
        try:
            self._open_desk()
        except Exception as error:  # nobody would notice the end of this thread
            remedy = error.remedy if isinstance(error, SdkError) else "report it"
            self.failure = error.problem if isinstance(error, SdkError) else f"{type(error).__name__}: {error}"
            logs.say("cannot start", problem=self.failure, remedy=remedy)
            self._give_up()

    def _open_desk(self) -> None:
        settings = self.settings
        policy = policy_file.read(policy_file.find(settings.policy))
        shadow = policy_file.read(policy_file.find(settings.shadow)) if settings.shadow else None
        analyzers = [self._analyzer(model) for model in settings.models or (None,)]
        reader = MetadataReader(settings.limits, mode=settings.decode, workers=settings.workers)
        metadata = self._open.enter_context(reader)
        examiner = Examiner(
            analyzers,
            policy,
            shadow,
            metadata=metadata if settings.metadata else None,
            video=settings.video_limits,
            video_seconds=settings.max_video_seconds,
        )
        examiner.warmup()
        desk = Desk(settings, examiner, self.jobs, metrics=self.metrics)
        secret = master_secret(Path(settings.secret))
        self.metrics.tell_models(examiner)
        sender = Sender(
            self.database,
            secret=secret,
            attempts=settings.webhook_attempts,
            pause=settings.webhook_seconds,
            timeout=settings.webhook_timeout,
            at_once=settings.webhooks_at_once,
            metrics=self.metrics,
        )
        for thread in (sender, desk):
            thread.start()
            self._open.callback(thread.stop)
        self.within_reach = decoding_process.within_reach(settings.limits)
        self._desk = desk
        logs.say(
            "ready",
            models=sorted(examiner.analyzers),
            policy=policy.sha256[:12],
            within_reach_of_decoders=self.within_reach or "nothing",
        )

    def _analyzer(self, model: str | None) -> Analyzer:
        settings = self.settings
        analyzer = load(
            model,
            device=settings.device,
            backend=settings.backend or None,
            precision=settings.precision,
            threads=settings.threads or None,
            decode=settings.decode,
            limits=settings.limits,
        )
        self._open.callback(analyzer.close)
        return analyzer

    def _purge(self) -> None:
        while True:
            try:
                self.jobs.purge(before=time.time() - DAY * self.settings.retain_days)
            except Exception:  # the database is away: it may come back
                logs.logger.exception("old pictures cannot be deleted")
            if self._ending.wait(PURGE_SECONDS):
                return


@contextmanager
def only_server(file: Path) -> Iterator[None]:
    """Be the only server of the database in ``file``; the end of the process gives it back, however it ends."""
    try:
        place = file.with_name(f"{file.name}.lock")
        place.touch(mode=0o600)
        lock = place.open("ab")  # which no child inherits
    except OSError as error:
        raise BadSetting(
            f"the database {file} cannot be used: {error.strerror}",
            remedy="name a file in a folder that exists and may be written: --database sqlite:///FILE",
        ) from error
    with lock:
        locks.hold(
            lock,
            f"another server has the database {file}",
            remedy="end that one, or let both share PostgreSQL: --database postgresql://USER@HOST/NAME",
        )
        yield
