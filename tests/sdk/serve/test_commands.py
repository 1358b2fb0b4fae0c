"""The verbs: keys in a database, and a service that is asked to end."""

from __future__ import annotations

import functools
import http.client
import json
import multiprocessing
import os
import signal
import socket
import time

import pytest
from sqlalchemy import select, update

from sdk import __main__ as cli
from sdk.serve import webhooks
from sdk.serve.access import Keys
from sdk.serve.database import Database
from sdk.serve.jobs import Answer, Job, Jobs
from sdk.serve.tables import deliveries
from tests.sdk.serve.conftest import BRIGHT
from tests.sdk.serve.test_kill import PRELOADED, run


@pytest.fixture
def imdl(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def runs(*arguments: str) -> tuple[int, list[dict], str]:
        status = cli.main(list(arguments))
        said = capsys.readouterr()
        return status, [json.loads(line) for line in said.out.splitlines()], said.err

    return runs


def test_keys_are_made_listed_and_revoked(imdl, tmp_path):
    _, (made,), _ = imdl("keys", "add", "alice", "--webhook", "https://example.org/hook")
    assert Keys(Database("sqlite:///imdl.db")).tenant(made["key"]).name == "alice"
    assert made["webhook_secret"] == webhooks.secret_of((tmp_path / "imdl.secret").read_bytes(), "alice")
    assert imdl("keys", "add", "carol", "--role", "review")[1][0]["webhook_secret"] is None
    assert imdl("keys", "revoke", "alice")[:2] == (0, [])
    assert imdl("keys", "list")[1] == [
        {"name": "alice", "role": "submit", "revoked": True},
        {"name": "carol", "role": "review", "revoked": False},
    ]


def test_webhooks_that_were_given_up_are_listed_and_tried_again(imdl):
    imdl("keys", "add", "alice", "--webhook", "https://example.org/hook")
    database, one = Database("sqlite:///imdl.db"), Job("1" * 32, "alice", "default", "0" * 64, 4)
    store = Jobs(database, owner="o", lease_seconds=60, max_attempts=3)
    store.hand_in(one, b"file")
    store.answer(one, Answer("pass", lambda _: "record", {}))
    assert imdl("webhooks", "list")[:2] == (0, [])
    with database.write() as connection:
        connection.execute(update(deliveries).values(state="dead", attempts=8, problem="the receiver answered 500"))
    assert imdl("webhooks", "list")[1] == [
        {"job_id": one.id, "tenant": "alice", "url": "https://example.org/hook", "attempts": 8,
         "problem": "the receiver answered 500"}
    ]  # fmt: skip
    assert [imdl("webhooks", "retry")[1] for _ in range(2)] == [[{"retried": 1}], [{"retried": 0}]]
    with database.read() as connection:
        row = connection.execute(select(deliveries.c.state, deliveries.c.attempts)).one()
    assert tuple(row) == ("pending", 0)
    database.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("keys", "add"), "keys add needs a name"),
        (("keys", "revoke", "nobody"), "no key named 'nobody'"),
        (("keys", "list", "--database", "mysql://x"), "neither a file of SQLite nor PostgreSQL"),
        (("serve", "--anyone", "--host", "0.0.0.0"), "would serve strangers"),
        (("serve", "--config", "none.toml"), "none.toml cannot be read"),
    ],
)
def test_what_makes_no_sense_is_told(imdl, arguments, words):
    status, _, said = imdl(*arguments)
    assert (status, words in said) == (2, True)


def test_a_setting_serves_strangers_no_more_than_the_option_does(imdl, tmp_path):
    (tmp_path / "serve.toml").write_text("anyone = true\nmodels = ['none']\n")
    status, _, said = imdl("serve", "--config", "serve.toml", "--host", "0.0.0.0", "--port", "0")
    assert (status, "would serve strangers" in said) == (2, True)


def test_an_upload_under_way_is_answered_before_the_service_ends(make_settings):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        server = context.Process(target=run, args=(make_settings(anyone=True), listening))
        server.start()
        connect = functools.partial(http.client.HTTPConnection, "127.0.0.1", port, timeout=20)
        deadline = time.monotonic() + 30
        while ask(connect(), "GET", "/readyz") != 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        upload = connect()
        upload.putrequest("POST", "/v1/analyze")
        upload.putheader("Content-Length", str(len(BRIGHT)))
        upload.endheaders(BRIGHT[:1000])
        while "imdl_inflight 1.0" not in ask_text(connect(), "/metrics"):
            time.sleep(0.01)
        os.kill(server.pid, signal.SIGTERM)
        time.sleep(0.3)
        upload.send(BRIGHT[1000:])
        answer = upload.getresponse()
        assert (answer.status, json.loads(answer.read())["action"]) == (200, "review")
        upload.close()
        server.join(20)
    assert server.exitcode == -signal.SIGTERM


def ask(connection: http.client.HTTPConnection, method: str, path: str) -> int:
    try:
        connection.request(method, path)
        return connection.getresponse().status
    finally:
        connection.close()


def ask_text(connection: http.client.HTTPConnection, path: str) -> str:
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()
