"""The Kafka consumer: what it promises, against a consumer that tells what was asked of it, and imdl consume."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")

from sdk import __main__ as cli
from sdk.errors import BadSetting, BrokerFailed, RunFailed
from sdk.integrations import brokers
from sdk.integrations.kafka import COMMITS_IN_A_ROW, IN_A_ROW, Bounds, Consumption
from tests.sdk.integrations.consumers import Examines, Message, Told, files, nothing


def consumed(told: Told, examiner: Examines, **settings) -> Consumption:
    consumption = Consumption(examiner, told, consumer=told, dead_letters=(told, "dead"), **settings)
    consumption.run("uploads", stop=lambda: not (told.messages or consumption._taken))
    return consumption


def messages(*contents: bytes | None) -> list[Message]:
    return [Message(content, number) for number, content in enumerate(contents)]


def test_offsets_are_committed_after_the_write():
    told = Told(messages(b"a", b"b"))
    consumed(told, Examines(nothing))
    assert told.events == ["write uploads:0:0", "write uploads:0:1", "flush", "flush", "commit"]
    assert told.offsets == [2]


def test_what_cannot_be_written_is_not_committed():
    class Full(Told):
        def flush(self) -> None:
            raise BrokerFailed("the disk is full", remedy="none")

    told = Full(messages(b"a"))
    with pytest.raises(BrokerFailed, match="the disk is full"):
        consumed(told, Examines(nothing))
    assert "commit" not in told.events


def test_a_file_that_comes_again_is_answered_without_another_examination():
    told, examiner = Told(messages(b"a", b"b", b"a")), Examines(nothing)
    tally = consumed(told, examiner).tally
    assert examiner.calls == [b"a", b"b"]
    assert (tally.examined, tally.repeated, tally.dead) == (2, 1, 0)
    assert sum(event.startswith("write") for event in told.events) == 3


def test_poison_goes_to_the_dead_letters_with_its_reason_and_stops_no_other():
    def answer(data: bytes) -> None:
        if data == b"poison":
            raise RunFailed("out of memory", remedy="none")
        if data == b"fault":
            raise ZeroDivisionError("a fault of ours")

    told, examiner = Told(messages(b"a", b"poison", b"fault", None, b"b")), Examines(answer)
    tally = consumed(told, examiner, bounds=Bounds(attempts=3)).tally
    assert (tally.examined, tally.dead) == (2, 3)
    assert examiner.calls.count(b"poison") == 3
    assert [(topic, value, headers["imdl-source"]) for topic, value, headers in told.dead] == [
        ("dead", None, b"uploads:0:3"), ("dead", b"poison", b"uploads:0:1"), ("dead", b"fault", b"uploads:0:2"),
    ]  # fmt: skip
    assert [headers["imdl-problem"] for _, _, headers in told.dead] == [
        b"the message is empty", b"out of memory", b"a fault of ours",
    ]  # fmt: skip
    assert told.offsets[-1] == 5


def test_a_machine_that_fails_at_everything_stops_and_commits_none_of_it(monkeypatch):
    monkeypatch.setattr("sdk.integrations.kafka.COMMIT_SECONDS", 0.0)  # as one that fails slowly

    def answer(data: bytes) -> None:
        raise RunFailed("no memory", remedy="none")

    told = Told(messages(*(b"%d" % number for number in range(IN_A_ROW))))
    with pytest.raises(BrokerFailed, match="10 examinations in a row failed, the last: no memory"):
        consumed(told, Examines(answer))
    assert not told.offsets
    assert not told.dead  # they come again with every start
    told = Told(messages(*[None] * IN_A_ROW))  # messages without a file tell nothing about the machine
    assert consumed(told, Examines(answer)).tally.dead == IN_A_ROW


@pytest.mark.parametrize("contents", [[b"bad", b"good"], [b"bad"]], ids=["success", "the end"])
def test_a_message_that_failed_is_buried_at_the_next_success_or_at_the_end(contents):
    def answer(data: bytes) -> None:
        if data == b"bad":
            raise RunFailed("no memory", remedy="none")

    told = Told(messages(*contents))
    assert consumed(told, Examines(answer)).tally.dead == 1
    assert [value for _, value, _ in told.dead] == [b"bad"]
    assert told.offsets == [len(contents)]


class Refused(Told):
    """A cluster that takes no commit."""

    def __init__(self, code: int) -> None:
        super().__init__(messages(b"a"))
        self.code = code

    def commit(self, *, offsets, asynchronous: bool) -> list:
        super().commit(offsets=offsets, asynchronous=asynchronous)
        kafka = brokers.client()
        raise kafka.KafkaException(kafka.KafkaError(self.code, "refused"))


def test_commits_that_are_refused_end_it_unless_the_group_is_formed_anew(monkeypatch):
    error = brokers.client().KafkaError
    assert consumed(Refused(error.REBALANCE_IN_PROGRESS), Examines(nothing)).tally.examined == 1
    with pytest.raises(BrokerFailed, match=r"offsets cannot be committed: .*refused"):
        consumed(Refused(error.GROUP_AUTHORIZATION_FAILED), Examines(nothing))
    monkeypatch.setattr("sdk.integrations.kafka.COMMIT_SECONDS", 0.0)
    told = Refused(error.GROUP_AUTHORIZATION_FAILED)
    consumption = Consumption(Examines(nothing), told, consumer=told, dead_letters=(told, "dead"))
    with pytest.raises(BrokerFailed, match=r"offsets cannot be committed: .*refused"):
        consumption.run("uploads", stop=lambda: False, idle_s=30)
    assert told.events.count("commit") == COMMITS_IN_A_ROW


@pytest.mark.parametrize("refusals", [2, 10_000], ids=["a moment", "for ever"])
def test_what_others_get_next_is_committed_when_the_group_is_formed(monkeypatch, refusals):
    class Forming(Refused):
        def commit(self, *, offsets, asynchronous: bool) -> list:
            taken = super() if self.events.count("commit") < refusals else super(Refused, self)
            return taken.commit(offsets=offsets, asynchronous=asynchronous)

    monkeypatch.setattr("sdk.integrations.kafka.PARTING_SECONDS", 0.3)
    told = Forming(brokers.client().KafkaError.REBALANCE_IN_PROGRESS)
    assert consumed(told, Examines(nothing)).tally.examined == 1
    commits = told.events.count("commit")
    assert commits == 3 if refusals == 2 else commits > 3


@pytest.mark.parametrize("is_retriable", [True, False])
def test_an_error_of_the_cluster_ends_it_unless_it_passes(is_retriable):
    error = type("Error", (), {"retriable": lambda self: is_retriable, "__str__": lambda self: "unknown topic"})()
    told = Told([Message(b"", 0, error), *messages(b"a")])
    if is_retriable:
        assert consumed(told, Examines(nothing)).tally.examined == 1
        return
    with pytest.raises(BrokerFailed, match="uploads cannot be read: unknown topic"):
        consumed(told, Examines(nothing))


def test_properties_are_read_and_those_of_the_promise_refused(tmp_path):
    path = tmp_path / "client.properties"
    path.write_text("# who we are\nsasl.username=me\n\nsession.timeout.ms = 6000\n")
    assert brokers.properties(path) == {"sasl.username": "me", "session.timeout.ms": "6000"}
    with pytest.raises(BadSetting, match=r"the properties set enable\.auto\.commit"):
        brokers.clients("none:1", group="g", properties={"enable.auto.commit": "true"})
    with pytest.raises(BadSetting, match=r"not understood.*no-such-thing"):
        brokers.clients("none:1", group="g", properties={"no-such-thing": "1"})
    path.write_text("sasl.username\n")
    with pytest.raises(BadSetting, match=r"no property: sasl\.username"):
        brokers.properties(path)


def test_bounds_are_checked():
    with pytest.raises(BadSetting, match="max_inflight is 0"):
        Bounds(max_inflight=0)


def test_imdl_consume_answers_each_file_and_buries_what_is_none(cluster, toy_path, policy_path, capsys):
    first, second = files(2)
    cluster.send("in", first, key=b"upload-1")
    cluster.send("in", second, key=b"upload-2")
    cluster.send("in", first, key=b"upload-3")
    cluster.send("in", b"\xff\xd8\xff no image", key=b"upload-4")
    cluster.send("in", None, key=b"upload-5")
    cluster.send("in", second, key=b"upload-6", headers=[("content", b"unheard-of")])
    options = ["--model", str(toy_path), "--policy", str(policy_path), "--idle", "2"]
    assert cli.main(["consume", "--brokers", cluster.brokers, "--topic", "in", "--to", "out", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {"examined": 3, "repeated": 1, "dead": 2}
    found = {dict(each.headers())["source-key"]: each for each in cluster.read("out", count=4)}
    records = {key: json.loads(each.value()) for key, each in found.items()}
    assert set(found) == {b"upload-1", b"upload-2", b"upload-3", b"upload-4"}
    assert found[b"upload-1"].key() == found[b"upload-3"].key() != found[b"upload-2"].key()
    assert records[b"upload-4"]["error"]["type"] == "DecodeFailed"
    assert records[b"upload-1"]["results"][0]["model"] == "toy"
    dead = {each.key(): dict(each.headers())["imdl-error"] for each in cluster.read("in-dead", count=2)}
    assert dead == {b"upload-5": b"BadSetting", b"upload-6": b"UnknownName"}
    assert cluster.lag("imdl", "in") == 0


def test_a_video_holds_up_those_behind_it_no_longer_than_it_may(cluster, toy_path, policy_path, tmp_path, capsys):
    videos = pytest.importorskip("tests.sdk.videos", reason="PyAV is not installed", exc_type=ImportError)
    clip = videos.make(tmp_path / "clip.mp4", [np.full((64, 64, 3), level, np.uint8) for level in range(20, 220, 5)])
    cluster.send("moving", clip.read_bytes(), partition=0)
    cluster.send("moving", *files(1), partition=0)
    out = tmp_path / "records.jsonl"
    options = ["--model", str(toy_path), "--policy", str(policy_path), "--out", str(out), "--idle", "1"]
    options += ["--group", "moving"]  # into a group that was left the mock cluster lets nobody for a session's 45 s
    told = ["consume", "--brokers", cluster.brokers, "--topic", "moving", *options, "--video-seconds"]
    assert cli.main([*told, "nan"]) == 2
    assert "--video-seconds is nan" in capsys.readouterr().err
    assert cli.main([*told, "1e-9"]) == 0
    video, picture = (json.loads(line) for line in out.read_text().splitlines())
    assert (video["video"]["frames"], video["error"]["type"], picture["error"]) == (1, "LimitExceeded", None)
