"""The verbs: keys in a database, and a service that is asked to end."""

from __future__ import annotations

import functools
import http.client
import json
import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from sdk import __main__ as cli
from sdk.errors import BadSetting
from sdk.integrations import locks
from sdk.serve import webhooks
from sdk.serve.access import Keys
from sdk.serve.database import Database
from sdk.serve.jobs import Answer, Job, Jobs
from sdk.serve.service import Service, only_server
from sdk.serve.settings import Settings
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
    carol = imdl("keys", "add", "carol", "--role", "review", "--per-minute", "3")
    assert carol[1][0]["webhook_secret"] is None
    assert imdl("keys", "revoke", "alice")[:2] == (0, [])
    assert imdl("keys", "list")[1] == [
        {"name": "alice", "role": "submit", "per_minute": None, "webhook": "https://example.org/hook", "revoked": True},
        {"name": "carol", "role": "review", "per_minute": 3, "webhook": None, "revoked": False},
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
        (("keys", "revoke", "nobody"), "there is no database"),
        (("keys", "list", "--database", "sqlite:///imbl.db"), "imbl.db\n  -> name that of the service"),
        (("keys", "add", "a", "--database", "sqlite:///none/imdl.db"), "a folder that exists"),
        (("keys", "add", "a", "--database", "sqlite:///text"), "not a database\n  -> name the service's own file"),
        (("keys", "add", "a", "--webhook", "https://a.example", "--config", "far.toml"), "cannot be read or made"),
        (("webhooks", "list"), "there is no database"),
        (("webhooks", "list", "--database", "sqlite:///text"), "not a database"),
        (("serve", "--anyone", "--database", "foo.db"), "address of the database cannot be read"),
        (("serve", "--anyone", "--database", "mysql://x/y"), "neither a file of SQLite nor PostgreSQL"),
        (("serve", "--anyone", "--port", "0", "--database", "sqlite:///none/imdl.db"), "a folder that exists"),
        (("serve", "--anyone", "--port", "0", "--database", "sqlite:///text"), "name the service's own file"),
        (("serve", "--anyone", "--port", "99999"), "give --port 1 to 65535"),
        (("serve", "--host", "203.0.113.9"), "give --host an address of this machine"),
        (("serve", "--host", "no such host"), "give --host an address of this machine"),
        (("keys", "list", "--database", "mysql://x"), "neither a file of SQLite nor PostgreSQL"),
        (("serve", "--anyone", "--host", "0.0.0.0"), "would serve strangers"),
        (("serve", "--config", "none.toml"), "none.toml cannot be read"),
    ],
)
def test_what_makes_no_sense_is_told(imdl, tmp_path, arguments, words):
    if arguments[0] == "serve":  # one that starts all the same ends here
        arguments += ("--model", "none")
    (tmp_path / "text").write_text("no database at all, and longer than a header of one would have to be " * 9)
    (tmp_path / "far.toml").write_text("secret = 'none/secret'\n")
    status, _, said = imdl(*arguments)
    assert (status, words in said, "Traceback" in said) == (2, True, False)
    assert not [made for made in tmp_path.glob("im*.db") if arguments[1] in ("list", "revoke")]


def test_a_key_that_finds_no_room_is_told_so(imdl, monkeypatch):
    def full(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise OperationalError("INSERT", {}, error)

    monkeypatch.setattr(Keys, "add", full)
    status, _, said = imdl("keys", "add", "alice")
    assert (status, "disk is full\n  -> make room on its disk" in said) == (2, True)


def test_a_port_that_is_taken_is_told_before_anything_is_touched(imdl, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, said = imdl("serve", "--anyone", "--port", str(taken.getsockname()[1]))
    assert (status, "end what listens there" in said, list(tmp_path.iterdir())) == (2, True, [])


def test_one_file_has_one_server_whose_jobs_no_other_takes(imdl, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE_S", 0.0)
    url = f"sqlite:///{tmp_path}/imdl.db"
    first = Service(Settings(database=url))
    first.prepare()
    first.jobs.hand_in(Job("1" * 32, "alice", "default", "0" * 64, 4), b"file")
    assert first.jobs.take() is not None
    (tmp_path / "link.db").symlink_to("imdl.db")
    for name in ("imdl.db", "link.db"):
        status, _, said = imdl("serve", "--anyone", "--port", "0", "--model", "none", "--database", f"sqlite:///{name}")
        assert (status, "another server has" in said, "postgresql://" in said) == (2, True, True)
    assert first.jobs.get("1" * 32)[0].state == "running"
    assert imdl("keys", "add", "alice")[0] == 0
    first.stop()
    second = Service(Settings(database=url))
    second.prepare()
    assert second.jobs.get("1" * 32)[0].state == "queued"
    second.stop()


def test_the_place_of_a_killed_server_is_free(tmp_path, monkeypatch):
    """Also while what it started lives on."""
    monkeypatch.setattr(locks, "PATIENCE_S", 0.0)
    program = (
        "import subprocess, sys, time; from pathlib import Path; from sdk.serve.service import only_server\n"
        "with only_server(Path(sys.argv[1])):\n"
        "    print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)\n"
    )
    file = tmp_path / "imdl.db"
    with subprocess.Popen([sys.executable, "-c", program, str(file)], stdout=subprocess.PIPE) as server:
        child = int(server.stdout.readline())
        with pytest.raises(BadSetting, match="another server has"), only_server(file):
            pass
        server.kill()
        server.wait()
        try:
            with only_server(file):
                os.kill(child, 0)
        finally:
            os.kill(child, signal.SIGKILL)


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
