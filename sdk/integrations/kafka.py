"""Uploads from a Kafka topic: each message is a file; its record of evidence goes to another topic, or to a file.

At least once: an offset is committed after what was found is written. A message for which there can be no record goes
to a dead-letter topic with the reason, and stops no other. While as much is in hand as may be, partitions are paused
and polling goes on, so that a slow machine keeps its place in the group.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from sdk.errors import BadSetting, BrokerFailed, RunFailed, SdkError, UnknownName
from sdk.evidence.record import Record, job_key
from sdk.examiner import Examiner
from sdk.integrations.brokers import Sender, client, logger
from sdk.integrations.outputs import Output

POLL_SECONDS = 0.05
COMMIT_SECONDS = 1.0
"""What a crash may let be examined twice."""
REMEMBERED = 1000
"""Examinations whose results are kept for a file that comes again."""
PARTING_SECONDS = 2.0
"""For how long the commit of partitions that others get next is tried while the group is formed anew."""
IN_A_ROW = 10
"""Examinations that failed, one after the other, from which on the machine is at fault and not the messages."""
COMMITS_IN_A_ROW = 10
"""Commits that were refused, one after the other, from which on it does not pass: the group has no rights, say."""
REBALANCE = (
    "FENCED_MEMBER_EPOCH", "ILLEGAL_GENERATION", "REBALANCE_IN_PROGRESS", "STALE_MEMBER_EPOCH", "UNKNOWN_MEMBER_ID",
    "_ASSIGNMENT_LOST",
)  # fmt: skip
"""Names of errors with which commits are refused while a group is formed anew; what they were for comes again."""
FORMING = ("ILLEGAL_GENERATION", "REBALANCE_IN_PROGRESS")
"""Those of them with which a member is refused until all are told of their partitions; it stays a member."""
OF_THE_MESSAGE = (BadSetting, UnknownName)
"""Errors of a message that holds no file, or is of a content type that the policy does not know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What may be in hand at a time, and how often a message is tried."""

    workers: int = 1
    """Examinations side by side."""
    max_inflight: int = 16
    """Messages that were taken and are not written yet."""
    max_bytes_inflight: int = 256 << 20
    attempts: int = 2

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise BadSetting(f"{name} is {value}", remedy="give 1 or more")


@dataclass(slots=True)
class Tally:
    """What became of the messages."""

    examined: int = 0
    """Records written for files that were analysed, or refused by name."""
    repeated: int = 0
    """Messages whose record was known: it was sent again, or stood in the file."""
    dead: int = 0
    """Messages that went to the dead-letter topic."""


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """The record of a message's file."""

    key: str
    """The same for the same file, examined by the same means."""
    record: Record
    is_repeat: bool
    """Whether the examination was made before, for another message."""


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    """A message in hand."""

    message: Any
    answer: Future[_Answer]

    @property
    def place(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.message.topic(), self.message.partition()


class Consumption:
    """Messages from one topic through one examiner into one output. One thread polls and writes, others examine."""

    def __init__(
        self,
        examiner: Examiner,
        output: Output,
        *,
        consumer: Any,  # noqa: ANN401  the client has no types
        dead_letters: tuple[Sender, str],
        content: str = "default",
        bounds: Bounds | None = None,
    ) -> None:
        examiner.policy.at(content)
        self._examiner, self._output, self._consumer, self._content = examiner, output, consumer, content
        self._sender, self._dead_topic = dead_letters
        self._bounds = bounds or Bounds()
        self._threads = ThreadPoolExecutor(self._bounds.workers, thread_name_prefix="imdl-consume")
        self._taken: deque[_Taken] = deque()
        self._written: dict[tuple[str, int], int] = {}
        self._paused = False
        self._known: OrderedDict[str, Record] = OrderedDict()
        self._lock = threading.Lock()
        self._in_a_row = self._refused = 0
        self._held: list[tuple[Any, list[tuple[str, bytes]]]] = []
        self._committed = time.monotonic()
        self._heard: float | None = None
        self.tally = Tally()

    def run(self, topic: str, *, stop: Callable[[], bool], idle_s: float | None = None) -> Tally:
        """Consume until ``stop`` says so, or until nothing came for ``idle_s`` seconds; then end what was begun.

        Raises:
            BrokerFailed: a record cannot be written, a topic is not there, no offset can be committed, or ten
                examinations in a row failed.
        """
        callbacks = {"on_assign": self._assigned, "on_revoke": self._revoked, "on_lost": self._lost}
        self._consumer.subscribe([topic], **callbacks)
        try:
            while not stop() and not self._is_idle(idle_s):
                message = self._consumer.poll(POLL_SECONDS)
                if message is not None:
                    self._take(message)
                self._write()
                self._balance()
                if time.monotonic() - self._committed > COMMIT_SECONDS and not self._in_a_row:
                    self._commit()  # not of what failed last: it may be the machine, which then commits none of it
            self._drain(lambda _: True, seconds=PARTING_SECONDS, is_last=True)
        except BaseException:
            self._held.clear()
            self._taken.clear()
            self._written.clear()
            raise
        finally:
            self._threads.shutdown(cancel_futures=True)
            self._consumer.close()  # tells the group; what was not committed is delivered to others
        return self.tally

    def _is_idle(self, seconds: float | None) -> bool:
        """Whether nothing came for so long, since the group gave us partitions, and nothing is in hand."""
        if self._taken or self._paused:
            self._heard = time.monotonic()
        return self._heard is not None and seconds is not None and time.monotonic() - self._heard > seconds

    def _take(self, message: Any) -> None:  # noqa: ANN401
        self._heard = time.monotonic()
        if (error := message.error()) is not None:
            if not error.retriable():
                raise BrokerFailed(
                    f"{message.topic()} cannot be read: {error}", remedy="look at the topic and the group"
                )
            return
        answer = self._threads.submit(self._examined, message.value(), self._content_of(message))
        self._taken.append(_Taken(message, answer))

    def _content_of(self, message: Any) -> str:  # noqa: ANN401
        """The content type that a header of the message names."""
        named = dict(message.headers() or ()).get("content")
        return named.decode("utf-8", "replace") if named else self._content

    def _key(self, data: bytes, content: str) -> str:
        """The same for the same file, examined by the same means."""
        policies = [each.sha256 for each in (self._examiner.policy, self._examiner.shadow) if each]
        artifacts = [analyzer.artifact.digest for analyzer in self._examiner.analyzers.values()]
        digest = hashlib.sha256(data).hexdigest()
        return job_key(digest, artifacts=artifacts, policies=policies, content=content)

    def _examined(self, data: bytes | None, content: str) -> _Answer:
        """What the file ``data`` is answered with; what a machine fails at once it may not fail at again."""
        if not data:
            raise BadSetting("the message is empty", remedy="send the bytes of a file")
        key = self._key(data, content)
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            return _Answer(key, known, is_repeat=True)
        for _ in range(self._bounds.attempts - 1):
            with contextlib.suppress(RunFailed):
                return self._remembered(key, self._examiner.examine(data, content=content).record)
        return self._remembered(key, self._examiner.examine(data, content=content).record)

    def _remembered(self, key: str, found: Record) -> _Answer:
        with self._lock:
            self._known[key] = found
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return _Answer(key, found, is_repeat=False)

    def _write(self) -> None:
        """Write what is done, in the order of its arrival."""
        while self._taken and self._taken[0].answer.done():
            self._answer(self._taken.popleft())

    def _answer(self, taken: _Taken) -> None:
        message, error = taken.message, taken.answer.exception()
        source = f"{message.topic()}:{message.partition()}:{message.offset()}"
        if error is None:
            found = taken.answer.result()
            is_new = self._output.write(found.record, key=found.key, headers=_headers(source, message.key()))
            self.tally.examined += is_new and not found.is_repeat
            self.tally.repeated += found.is_repeat or not is_new
            self._in_a_row = 0
            self._send_held()
        else:
            self._bury(message, source, error)
        self._written[taken.place] = message.offset() + 1

    def _bury(self, message: Any, source: str, error: BaseException) -> None:  # noqa: ANN401
        """Send a message to the dead letters; one whose examination failed when it is clear that it is at fault."""
        problem = error.problem if isinstance(error, SdkError) else str(error)
        self._in_a_row += not isinstance(error, OF_THE_MESSAGE)
        if self._in_a_row >= IN_A_ROW:
            raise BrokerFailed(f"{IN_A_ROW} examinations in a row failed, the last: {problem}", remedy="imdl doctor")
        logger.warning("%s goes to %s: %s", source, self._dead_topic, problem)
        why = {"imdl-source": source, "imdl-error": type(error).__name__, "imdl-problem": problem}
        headers = [*(message.headers() or ()), *((name, text.encode()) for name, text in why.items())]
        if isinstance(error, OF_THE_MESSAGE):
            self._send_dead(message, headers)
        else:  # the machine's fault perhaps, and then it comes again
            self._held.append((message, headers))

    def _send_held(self) -> None:
        held, self._held = self._held, []
        for message, headers in held:
            self._send_dead(message, headers)

    def _send_dead(self, message: Any, headers: list[tuple[str, bytes]]) -> None:  # noqa: ANN401
        self._sender.send(self._dead_topic, message.value(), key=message.key(), headers=headers)
        self.tally.dead += 1

    def _commit(self, *, until: float = 0.0, is_last: bool = False) -> None:
        """Commit what is written, once it is; one that is refused is tried again later, unless it ``is_last``.

        Of what passes within seconds it waits for the end, if that comes before the time ``until``.
        """
        self._committed = time.monotonic()
        if not self._written:
            return
        self._send_held()
        self._output.flush()
        self._sender.flush()
        offsets = [client().TopicPartition(*place, offset) for place, offset in self._written.items()]
        error = self._refusal(offsets)
        while error is not None and error.name() in FORMING and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
            error = self._refusal(offsets)
        if error is None:
            self._written, self._refused = {}, 0
            return
        logger.info("not committed yet: %s", error)
        if error.name() in REBALANCE:
            return
        self._refused += 1
        if is_last or self._refused >= COMMITS_IN_A_ROW:
            raise BrokerFailed(
                f"offsets cannot be committed: {error}", remedy="see what the group may do; nothing is lost"
            )

    def _refusal(self, offsets: list[Any]) -> Any:  # noqa: ANN401
        """Commit ``offsets``; the error of the request or of a partition, None if there is none."""
        try:
            committed = self._consumer.commit(offsets=offsets, asynchronous=False)
        except client().KafkaException as error:
            return error.args[0]
        return next((each.error for each in committed if each.error is not None), None)

    def _balance(self) -> None:
        """Pause partitions while too much is in hand, and resume them when half of it is done."""
        count, size = len(self._taken), sum(len(each.message.value() or b"") for each in self._taken)
        bounds = self._bounds
        if not self._paused and (count >= bounds.max_inflight or size >= bounds.max_bytes_inflight):
            self._paused = True
            self._consumer.pause(self._consumer.assignment())
        elif self._paused and 2 * count <= bounds.max_inflight and 2 * size <= bounds.max_bytes_inflight:
            self._paused = False
            self._consumer.resume(self._consumer.assignment())

    def _drain(self, concerns: Callable[[_Taken], bool], *, seconds: float = 0.0, is_last: bool = False) -> None:
        """Let go of what was not begun, end the rest, write and commit it."""
        for taken in [each for each in reversed(self._taken) if concerns(each)]:
            if taken.answer.cancel():
                self._taken.remove(taken)
        for taken in [each for each in self._taken if concerns(each)]:
            taken.answer.exception()  # waits
            self._taken.remove(taken)
            self._answer(taken)
        self._commit(until=time.monotonic() + seconds, is_last=is_last)

    def _assigned(self, consumer: Any, partitions: Sequence[Any]) -> None:  # noqa: ANN401
        self._heard = time.monotonic()
        consumer.incremental_assign(partitions)
        if self._paused:
            consumer.pause(partitions)

    def _revoked(self, consumer: Any, partitions: Sequence[Any]) -> None:  # noqa: ANN401
        """End and commit what is in hand of partitions that others get next."""
        places = {(each.topic, each.partition) for each in partitions}
        self._drain(lambda taken: taken.place in places, seconds=PARTING_SECONDS)
        self._forget(places)

    def _lost(self, consumer: Any, partitions: Sequence[Any]) -> None:  # noqa: ANN401
        """Leave partitions to others, who have them by now and examine what was not committed."""
        self._forget({(each.topic, each.partition) for each in partitions})

    def _forget(self, places: set[tuple[str, int]]) -> None:
        self._taken = deque(each for each in self._taken if each.place not in places)
        self._written = {place: offset for place, offset in self._written.items() if place not in places}
        self._held = [each for each in self._held if (each[0].topic(), each[0].partition()) not in places]


def _headers(source: str, key: bytes | str | None) -> dict[str, str]:
    """What ties a record to the message that it is about."""
    named = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
    return {"source": source} | ({"source-key": named} if named is not None else {})
