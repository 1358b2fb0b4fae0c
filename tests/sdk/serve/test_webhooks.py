"""Webhooks: signed, tried again, given up; each about one job."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
import time

import pytest
from sqlalchemy import select, update

from sdk.errors import BadSetting
from sdk.serve import webhooks
from sdk.serve.access import Keys
from sdk.serve.jobs import Answer, Job, Jobs
from sdk.serve.metrics import Metrics
from sdk.serve.tables import deliveries

MASTER = b"secret of the service"


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers with the next of the server's statuses, and keeps what came."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.server.got.append((self.path, dict(self.headers), body))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.got, server.statuses = [], []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def job(database, receiver) -> Job:
    """An answered job of a key with a webhook."""
    Keys(database).add("alice", role="submit", webhook=f"http://127.0.0.1:{receiver.server_port}/hook?x=1")
    one = Job("1" * 32, "alice", "default", "0" * 64, 4)
    store = Jobs(database, owner="o", lease_seconds=60, max_attempts=3)
    store.hand_in(one, b"file")
    assert store.answer(one, Answer("review", lambda _: '{"decision": {"action": "review"}}', {}))
    return one


class Sender(webhooks.Sender):
    """Delivers when it is told to."""

    def deliver_one(self) -> bool:
        due = self._hold()
        if due is not None:
            self._attempt(due)
        return due is not None


def sender(database, **changes) -> Sender:
    chosen = {"secret": MASTER, "attempts": 3, "pause": 0.0, "timeout": 2.0, "metrics": Metrics()} | changes
    return Sender(database, **chosen)


def state(database) -> tuple[str, int, str]:
    columns = (deliveries.c.state, deliveries.c.attempts, deliveries.c.problem)
    with database.read() as connection:
        return tuple(connection.execute(select(*columns)).one())


def test_an_answer_is_delivered_and_its_signature_can_be_checked(database, receiver, job):
    assert sender(database).deliver_one()
    ((path, headers, body),) = receiver.got
    assert (path, headers["Imdl-Delivery"]) == ("/hook?x=1", job.id)
    assert json.loads(body)["record"] == {"decision": {"action": "review"}}
    secret = webhooks.secret_of(MASTER, "alice")
    assert headers["Imdl-Signature"] == f"sha256={webhooks.signature(secret, headers['Imdl-Time'], body)}"
    assert state(database) == ("delivered", 1, "")
    assert not sender(database).deliver_one()


def test_a_signature_covers_body_time_and_key():
    signed = webhooks.signature("secret", "100", b"body")
    others = [("secret", "101", b"body"), ("secret", "100", b"bodz"), ("secres", "100", b"body")]
    assert signed not in {webhooks.signature(*each) for each in others}
    assert webhooks.secret_of(MASTER, "alice") != webhooks.secret_of(MASTER, "bob")


def test_a_delivery_that_fails_is_tried_again(database, receiver, job):
    receiver.statuses = [500, 503]
    for told in (("pending", 1, "the receiver answered 500"), ("pending", 2, "the receiver answered 503"),
                 ("delivered", 3, "")):  # fmt: skip
        assert sender(database).deliver_one()
        assert state(database) == told
    assert len({headers["Imdl-Delivery"] for _, headers, _ in receiver.got}) == 1


def test_a_delivery_that_always_fails_is_given_up(database, receiver, job):
    receiver.statuses = [500] * 9
    for _ in range(3):
        assert sender(database).deliver_one()
    assert state(database) == ("dead", 3, "the receiver answered 500")
    assert not sender(database).deliver_one()


def test_a_redirect_is_not_followed(database, receiver, job):
    receiver.statuses = [302]
    sender(database).deliver_one()
    assert [path for path, _, _ in receiver.got] == ["/hook?x=1"]
    assert state(database)[0] == "pending"


def test_a_receiver_that_is_not_there_is_a_failure(database, receiver, job):
    receiver.shutdown()
    receiver.server_close()
    sender(database).deliver_one()
    assert state(database)[0] == "pending"
    assert "ConnectionRefusedError" in state(database)[2]


def test_a_job_that_failed_is_told_too(database, receiver):
    Keys(database).add("alice", role="submit", webhook=f"http://127.0.0.1:{receiver.server_port}/")
    store = Jobs(database, owner="o", lease_seconds=60, max_attempts=3)
    store.hand_in(Job("2" * 32, "alice", "default", "0" * 64, 4), b"file")
    taken, _ = store.take()
    store.fail(taken, "no memory")
    assert sender(database).deliver_one()
    assert json.loads(receiver.got[0][2]) == {"id": "2" * 32, "problem": "no memory", "record": None, "state": "failed"}


def test_an_answer_that_comes_while_a_failure_is_told_is_told_too(database, receiver, monkeypatch):
    Keys(database).add("alice", role="submit", webhook=f"http://127.0.0.1:{receiver.server_port}/")
    store = Jobs(database, owner="o", lease_seconds=60, max_attempts=3)
    one = Job("3" * 32, "alice", "default", "0" * 64, 4)
    store.hand_in(one, b"file")
    store.fail(store.take()[0], "no memory")

    def answered_meanwhile(*_: object, **__: object) -> str:
        store.answer(one, Answer("review", lambda _: "{}", {}))
        return ""

    with monkeypatch.context() as patched:
        patched.setattr(webhooks, "post", answered_meanwhile)
        sender(database).deliver_one()
    assert sender(database).deliver_one()
    assert json.loads(receiver.got[0][2])["state"] == "done"


def test_pauses_grow_and_are_spread_and_bounded():
    pauses = [[webhooks.pause(attempt, 1.0) for _ in range(50)] for attempt in (1, 2, 3, 40)]
    for wanted, found in zip((1, 2, 4, webhooks.LONGEST), pauses, strict=True):
        assert wanted * 0.5 <= min(found) < max(found) <= wanted * 1.5
        assert len(set(found)) > 40


def test_the_master_secret_is_made_once_for_its_owner_alone(tmp_path):
    first = webhooks.master_secret(tmp_path / "secret")
    assert webhooks.master_secret(tmp_path / "secret") == first
    assert len(first) == 64
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_master_secret_that_is_none_signs_nothing(tmp_path):
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(BadSetting, match="has 0 characters"):
        webhooks.master_secret(tmp_path / "secret")


def trickle(stop: threading.Event) -> tuple[threading.Thread, int]:
    """A receiver that answers with a byte now and then, for ever."""
    listening = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with listening:
            listening.settimeout(0.1)
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listening.accept()
                    with connection:
                        while not stop.wait(0.05):
                            connection.sendall(b"H")

    thread = threading.Thread(target=run)
    thread.start()
    return thread, listening.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_receiver_that_trickles_is_cut_off(scheme):
    stop = threading.Event()
    thread, port = trickle(stop)
    try:
        start = time.monotonic()
        problem = webhooks.post(f"{scheme}://127.0.0.1:{port}/", b"{}", secret="s", delivery="d", timeout=0.3)
        assert problem
        assert time.monotonic() - start < 5
    finally:
        stop.set()
        thread.join()


def test_a_slow_receiver_delays_itself_alone(database, receiver, job):
    stop = threading.Event()
    thread, port = trickle(stop)
    store = Jobs(database, owner="o", lease_seconds=60, max_attempts=3)
    Keys(database).add("slow", role="submit", webhook=f"http://127.0.0.1:{port}/")
    for number in range(3):
        one = Job(f"{number:032d}", "slow", "default", "0" * 64, 4)
        store.hand_in(one, b"file")
        assert store.answer(one, Answer("review", lambda _: "{}", {}))
    with database.write() as connection:  # they are due before the quick one's
        connection.execute(update(deliveries).where(deliveries.c.job_id != job.id).values(next_at=0.0))
    sending = sender(database, at_once=2, timeout=30.0)
    sending.start()
    try:
        deadline = time.monotonic() + 20
        while not receiver.got:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        stop.set()
        thread.join()
        sending.stop()
    assert receiver.got[0][1]["Imdl-Delivery"] == job.id


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://[2001:db8::7]/hook", ("2001:db8::7", 80)),
        ("https://[2001:db8::7]/hook", ("2001:db8::7", 443)),
        ("http://[2001:db8::7]:8080/hook", ("2001:db8::7", 8080)),
    ],
)
def test_an_ipv6_address_is_called_at_its_own_port(monkeypatch, url, place):
    called = []

    def refuse(address, timeout):
        called.append(address)
        raise ConnectionRefusedError("nobody listens")

    monkeypatch.setattr("socket.create_connection", refuse)
    assert "nobody listens" in webhooks.post(url, b"", secret="s", delivery="1", timeout=1.0)
    assert called == [place]
