"""The clients of a Kafka cluster: a consumer that commits nothing by itself, a producer that loses nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sdk.errors import BadSetting, BrokerFailed, MissingExtra

logger = logging.getLogger("sdk.integrations.kafka")

FLUSH_SECONDS = 60.0
"""Time for brokers to acknowledge what was sent."""
OURS = {
    "acks", "bootstrap.servers", "enable.auto.commit", "enable.auto.offset.store", "enable.idempotence", "group.id",
    "partition.assignment.strategy",
}  # fmt: skip
"""Properties on which the promise rests."""
LARGEST = 64 << 20
"""Bytes of a message at most, where the properties say nothing else."""


class Sender:
    """A Kafka producer of which nothing is lost unnoticed."""

    def __init__(self, producer: Any) -> None:  # noqa: ANN401  the client has no types
        self._producer = producer
        self._failures: list[str] = []

    def send(self, topic: str, value: bytes | None, *, key: bytes | None, headers: Iterable[tuple[str, bytes]]) -> None:
        """Hand a message over."""
        while True:
            try:
                self._producer.produce(topic, value, key=key, headers=list(headers), on_delivery=self._delivered)
            except BufferError:  # as much is under way as the client holds
                self._producer.poll(1.0)
            except client().KafkaException as error:
                raise BrokerFailed(
                    f"{topic} does not take a message of {len(value or b''):,} bytes: {error}",
                    remedy="raise message.max.bytes, in the file of properties too; nothing is lost",
                ) from error
            else:
                return

    def flush(self) -> None:
        """Wait until every message is acknowledged."""
        left = self._producer.flush(FLUSH_SECONDS)
        if left or self._failures:
            why = self._failures[0] if self._failures else f"{left} messages are not acknowledged"
            raise BrokerFailed(
                f"what was found cannot be written: {why}", remedy="mend it and start again; nothing is lost"
            )

    def _delivered(self, error: object, message: Any) -> None:  # noqa: ANN401
        if error is not None:
            self._failures.append(f"{message.topic()}: {error}")


def clients(brokers: str, *, group: str, properties: Mapping[str, str] | None = None) -> tuple[Any, Sender]:
    """A consumer in ``group`` and a sender, with further ``properties`` of librdkafka (security, timeouts)."""
    given = dict(properties or {})
    if taken := sorted(OURS & set(given)):
        raise BadSetting(f"the properties set {', '.join(taken)}", remedy="leave them out: the promise rests on them")
    kafka, both = client(), {"bootstrap.servers": brokers, "message.max.bytes": LARGEST}
    reading = {
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "partition.assignment.strategy": "cooperative-sticky",
        "fetch.max.bytes": LARGEST,
        "fetch.message.max.bytes": LARGEST,
        "queued.max.messages.kbytes": 2 * LARGEST >> 10,
    }
    writing = {"enable.idempotence": True, "acks": "all"}
    try:
        consumer = kafka.Consumer({**both, **reading, **given}, logger=logger)
        return consumer, Sender(kafka.Producer({**both, **writing, **_of_producers(given)}, logger=logger))
    except kafka.KafkaException as error:
        raise BadSetting(
            f"the properties are not understood: {error}", remedy="see librdkafka's CONFIGURATION.md"
        ) from error


def properties(path: Path) -> dict[str, str]:
    """The file of properties at ``path``: NAME=VALUE on a line, # before a remark, as Kafka's own tools read it."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} cannot be read: {error}", remedy="give a file of NAME=VALUE lines") from error
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise BadSetting(f"{path} has a line that is no property: {wrong[0]}", remedy="write NAME=VALUE")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _of_producers(given: Mapping[str, str]) -> dict[str, str]:
    """Properties without those that only consumers have."""
    consumers = ("session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms", "auto.offset.reset")
    return {k: v for k, v in given.items() if k not in consumers and not k.startswith(("fetch.", "group.", "queued."))}


def client() -> Any:  # noqa: ANN401  the client has no types
    """The package ``confluent_kafka``."""
    try:
        import confluent_kafka
    except ImportError as error:
        raise MissingExtra("confluent-kafka", extra="kafka", purpose="imdl consume", why=str(error)) from error
    return confluent_kafka
