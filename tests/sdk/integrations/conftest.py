"""A Kafka cluster inside librdkafka, and what is needed to look into it."""

from __future__ import annotations

import logging
import time

import pytest

from tests.sdk.evidence.conftest import examiner, policy_path, upload

__all__ = ["examiner", "policy_path", "upload"]

QUIET = logging.getLogger("kafka-of-the-tests")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


class Cluster:
    """Three brokers of librdkafka's own mock cluster; topics come into being with their first message."""

    def __init__(self) -> None:
        kafka = pytest.importorskip("confluent_kafka")
        self._kafka = kafka
        self._home = kafka.Producer({"test.mock.num.brokers": 3, "bootstrap.servers": "none"}, logger=QUIET)
        found = self._home.list_topics(timeout=30).brokers.values()
        self.brokers = ",".join(f"{broker.host}:{broker.port}" for broker in found)
        self._producer = kafka.Producer({"bootstrap.servers": self.brokers}, logger=QUIET)

    def send(
        self, topic: str, value: bytes | None, *, partition: int = -1, headers=(), key: bytes | None = None
    ) -> None:
        self._producer.produce(topic, value, key, partition, headers=list(headers))
        assert self._producer.flush(30) == 0

    def read(self, topic: str, *, count: int) -> list:
        """The first ``count`` messages of all partitions; fewer if no more come."""
        reader = self._kafka.Consumer({"bootstrap.servers": self.brokers, "group.id": "reader"}, logger=QUIET)
        partitions = reader.list_topics(topic, timeout=30).topics[topic].partitions
        reader.assign([self._kafka.TopicPartition(topic, each, self._kafka.OFFSET_BEGINNING) for each in partitions])
        messages, end = [], time.monotonic() + 30
        while time.monotonic() < end and len(messages) < count:
            if (message := reader.poll(0.2)) is not None:
                assert message.error() is None
                messages.append(message)
        extra = reader.poll(0.5)
        reader.close()
        assert extra is None, f"more than {count} messages in {topic}"
        return messages

    def lag(self, group: str, topic: str) -> int:
        """Messages that the group has not committed."""
        reader = self._kafka.Consumer({"bootstrap.servers": self.brokers, "group.id": group}, logger=QUIET)
        parts = [
            self._kafka.TopicPartition(topic, each)
            for each in reader.list_topics(topic, timeout=30).topics[topic].partitions
        ]
        left = 0
        for each in reader.committed(parts, timeout=30):
            assert each.error is None
            low, high = reader.get_watermark_offsets(each, timeout=30)
            left += high - max(low, each.offset)
        reader.close()
        return left


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return Cluster()
