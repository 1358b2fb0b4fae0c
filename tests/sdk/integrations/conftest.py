"""A Kafka cluster inside librdkafka, and what is needed to look into it."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdk.evidence.conftest import examiner, policy_path, upload

__all__ = ["examiner", "policy_path", "upload"]

QUIET = logging.getLogger("kafka-of-the-tests")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


REBALANCE_MS = 100
"""For how long a new group waits for further members; three seconds are librdkafka's own."""


class Brokers:
    """Three brokers of librdkafka's own mock cluster, made by its C functions: only they set the group's delay."""

    def __init__(self) -> None:
        mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "librdkafka" in line}
        self._library = ctypes.CDLL(min(mapped))
        settings = self._call("rd_kafka_conf_new")
        self._call("rd_kafka_conf_set", settings, b"log_level", b"0", None, ctypes.c_size_t(0))
        self._client = self._call("rd_kafka_new", 0, settings, None, ctypes.c_size_t(0))
        self._cluster = self._call("rd_kafka_mock_cluster_new", self._client, 3)
        assert self._cluster, "librdkafka makes no mock cluster"
        self._call("rd_kafka_mock_group_initial_rebalance_delay_ms", self._cluster, ctypes.c_int32(REBALANCE_MS))
        self.addresses = ctypes.string_at(self._call("rd_kafka_mock_cluster_bootstraps", self._cluster)).decode()

    def _call(self, name: str, *arguments: object) -> ctypes.c_void_p:
        function = self._library[name]
        function.restype = ctypes.c_void_p
        return ctypes.c_void_p(function(*arguments))

    def close(self) -> None:
        self._call("rd_kafka_mock_cluster_destroy", self._cluster)
        self._call("rd_kafka_destroy", self._client)


class Cluster:
    """What tests do with the brokers; topics come into being with their first message."""

    def __init__(self, brokers: str) -> None:
        import confluent_kafka

        self.brokers, self._kafka = brokers, confluent_kafka
        self._producer = confluent_kafka.Producer({"bootstrap.servers": brokers}, logger=QUIET)

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


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """A cluster for as long as it is needed."""
    pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")
    brokers = Brokers()
    try:
        yield Cluster(brokers.addresses)
    finally:
        brokers.close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running() as cluster:
        yield cluster
