"""What Kafka's tests hand to a consumption, and how they wait for it."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from sdk.policy import Policy, Thresholds
from tests.sdk.files import saved, scene

POLICY = Policy(name="any", version=1, sha256="0" * 64, thresholds={"default": Thresholds()})


@dataclasses.dataclass
class Message:
    """As the client's, as far as it is asked."""

    content: bytes | None
    number: int
    problem: object = None

    def topic(self) -> str:
        return "uploads"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.number

    def value(self) -> bytes | None:
        return self.content

    def key(self) -> bytes | None:
        return None

    def headers(self) -> list:
        return []

    def error(self) -> object:
        return self.problem


class Told:
    """A consumer, an output and a sender that write down what happens, in its order."""

    def __init__(self, messages: list[Message]) -> None:
        self.messages, self.events, self.offsets, self.dead = messages, [], [], []

    def subscribe(self, topics, *, on_assign, **callbacks) -> None:
        on_assign(self, [])

    def incremental_assign(self, partitions) -> None: ...

    def poll(self, seconds: float) -> Message | None:
        return self.messages.pop(0) if self.messages else time.sleep(0.01)

    def commit(self, *, offsets, asynchronous: bool) -> list:
        self.events.append("commit")
        self.offsets += [each.offset for each in offsets]
        return offsets

    def close(self) -> None: ...

    def write(self, record, *, key: str, headers) -> bool:
        self.events.append(f"write {headers['source']}")
        return True

    def flush(self) -> None:
        self.events.append("flush")

    def send(self, topic, value, *, key, headers) -> None:
        self.dead.append((topic, value, dict(headers)))


class Examines:
    """An examiner whose answer is given for each file."""

    policy, shadow, analyzers = POLICY, None, {}

    def __init__(self, answer) -> None:
        self.answer, self.calls = answer, []

    def examine(self, data: bytes, *, content: str):
        self.policy.at(content)
        self.calls.append(data)
        self.answer(data)
        return type("Examination", (), {"record": {"file": data.decode()}})


def nothing(data: bytes) -> None: ...


def files(count: int) -> list[bytes]:
    rng = np.random.default_rng(11)
    return [saved(scene(rng, 70, 90, high=200), "PNG") for _ in range(count)]


def until(condition, *, every: float = 0.05) -> None:
    """Wait for what comes within seconds, and within minutes where the machine is starved."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(every)
