"""A group of Kafka consumers: members that come, go, stand still, and are killed."""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")

from sdk.evidence.chain import check_chain
from sdk.integrations import brokers
from sdk.integrations.kafka import Bounds, Consumption
from tests.sdk.integrations.consumers import Examines, Told, files, until


def consumption(cluster, examiner, output, *, group: str, bounds: Bounds, properties=None) -> Consumption:
    consumer, sender = brokers.clients(cluster.brokers, group=group, properties=properties)
    return Consumption(examiner, output, consumer=consumer, dead_letters=(sender, "dead"), bounds=bounds)


def started(running: Consumption, topic: str, **waits) -> threading.Thread:
    """A thread that consumes, and that keeps no failed test from its end."""
    thread = threading.Thread(target=running.run, args=(topic,), kwargs=waits, daemon=True)
    thread.start()
    return thread


def test_a_slow_machine_takes_no_more_than_it_may_and_keeps_its_place(cluster):
    """While everything stands still for longer than a member may be silent, none is taken and none is lost."""
    for number in range(10):
        cluster.send("slow", b"%d" % number)
    go, told = threading.Event(), Told([])
    examiner = Examines(lambda data: go.wait(60) or None)
    patience = {"max.poll.interval.ms": "2500", "session.timeout.ms": "2500", "heartbeat.interval.ms": "200"}
    bounds = Bounds(max_inflight=4)
    running = consumption(cluster, examiner, told, group="slow", bounds=bounds, properties=patience)
    thread = started(running, "slow", stop=lambda: False, idle_s=2)
    until(lambda: running._paused)
    time.sleep(3)  # longer than the 2.5 s
    in_hand = len(running._taken)
    go.set()
    thread.join(60)
    assert in_hand == 4
    assert sorted(examiner.calls, key=int) == [b"%d" % number for number in range(10)]
    assert cluster.lag("slow", "slow") == 0


def shared(cluster, topic: str) -> tuple[list[Told], int]:
    """What two members wrote, of which the second comes and the first goes while records come, and how many came."""
    sent = itertools.count()

    def send() -> None:
        number = next(sent)
        cluster.send(topic, b"%d" % number, partition=number % 4)

    told, stop, threads = [Told([]), Told([])], [threading.Event(), threading.Event()], []
    examiners = [Examines(lambda data: time.sleep(0.02)), Examines(lambda data: time.sleep(0.01))]
    patience = {"session.timeout.ms": "4000", "heartbeat.interval.ms": "200", "debug": "cgrp"}
    for examiner, each, asked in zip(examiners, told, stop, strict=True):
        running = consumption(cluster, examiner, each, group=topic, bounds=Bounds(), properties=patience)
        send()  # the first makes the topic
        threads.append(started(running, topic, stop=asked.is_set))
        until(lambda each=each: send() or each.events)  # there is always something to share
    for _ in range(8):
        send()
    stop[0].set()
    threads[0].join(60)
    until(lambda: cluster.lag(topic, topic) == 0)
    stop[1].set()
    threads[1].join(60)
    return told, next(sent)


def test_nothing_is_lost_or_repeated_when_a_consumer_joins_and_another_leaves(cluster, caplog):
    """Once more where the mock cluster did what a broker does not, and records may come again.

    It refuses a member that asks for its share after the leader told of it, which a broker answers. That member asks
    for another round, and in a round the mock takes no commits, which a broker does.
    """
    for attempt in range(8):
        with caplog.at_level(logging.DEBUG, logger=brokers.logger.name):
            told, sent = shared(cluster, f"shared-{attempt}")
        sources = [event for each in told for event in each.events if event.startswith("write")]
        assert len(set(sources)) == sent
        assert all(any(event.startswith("write") for event in each.events) for each in told)
        if "synchronization failed: Broker: Invalid request" not in caplog.text:
            break
        caplog.clear()
    assert len(sources) == sent


def test_killed_at_any_moment_it_has_every_record_once_in_the_end(cluster, toy_path, policy_path, tmp_path):
    for data in files(24):
        cluster.send("killed", data)
    out, properties = tmp_path / "records.jsonl", tmp_path / "client.properties"
    properties.write_text("session.timeout.ms=2500\nheartbeat.interval.ms=200\n")
    options = ["--model", toy_path, "--policy", policy_path, "--properties", properties, "--out", out]
    where = ["--brokers", cluster.brokers, "--topic", "killed", "--group", "killed"]
    command = [sys.executable, "-m", "sdk", "consume", *where, *options]
    first = subprocess.Popen([str(part) for part in command])
    until(lambda: out.exists() and out.read_bytes().count(b"\n") >= 3, every=0.002)
    first.send_signal(signal.SIGKILL)
    first.wait()
    between = out.read_bytes().count(b"\n")
    second = subprocess.run([str(p) for p in [*command, "--idle", 2]], capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    lines = out.read_text("ascii").splitlines()
    check_chain(lines)
    assert between < len(lines) == len({json.loads(line)["input"]["sha256"] for line in lines}) == 24


def test_sigterm_ends_it_with_what_was_begun_committed(cluster, toy_path, policy_path):
    for data in files(3):
        cluster.send("ended", data)
    options = ["--model", toy_path, "--policy", policy_path, "--to", "ended-records", "--group", "ended"]
    command = [sys.executable, "-m", "sdk", "consume", "--brokers", cluster.brokers, "--topic", "ended", *options]
    running = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    until(lambda: cluster.lag("ended", "ended") == 0)
    os.kill(running.pid, signal.SIGTERM)
    said, _ = running.communicate(timeout=60)
    assert (running.returncode, json.loads(said)["examined"]) == (0, 3)
