"""The service is killed, again and again, at moments drawn by chance: no job is lost and none is answered twice.

Nor is a video, whose examination takes longer than most servers live. Most of the servers decode inside, since starting
the processes that do it takes longer than they live; some decode as the service does by default.
"""

from __future__ import annotations

import http.client
import http.server
import json
import multiprocessing
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from benchmarks.memory import family
from sdk.evidence import chain, record
from sdk.serve.access import Keys
from sdk.serve.database import Database
from sdk.serve.settings import Settings
from sdk.serve.tables import deliveries, jobs, records, uploads
from tests.sdk import videos
from tests.sdk.clips import grey, toy_of_video
from tests.sdk.serve.conftest import fresh, picture

STARTING, WORKING = 0.3, 0.15
"""Seconds after its start, and after the first upload that it accepted, within which a server is killed."""
STARTING_DECODERS = 0.9
"""The former, of one that starts processes that decode."""
AS_SHIPPED = 6
"""Every so many servers on SQLite one starts them: six of the fifty."""
FRAMES = 6
VIDEOS = (0, 2)
"""Which of an uploader's files are videos."""
ENOUGH = 12
"""Jobs that are accepted before the uploads end, however seldom a starved machine gets round to one between kills."""
PRELOADED = [
    "anyio._backends._asyncio",
    "av",
    "onnxruntime",
    "pytest",
    "sdk.backends.onnxruntime",
    "sdk.serve.app",
    "sqlite3",
    "tests.sdk.serve.conftest",
    "uvicorn",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
]
"""What a server imports, imported once for all of them."""


def run(settings: Settings, listening: socket.socket) -> None:
    """One server, as ``imdl serve`` runs it, on a socket that outlives it, but for the processes that read files.

    Starting these would take most of a server's short life.
    """
    from sdk import decoding_process
    from sdk.serve import service

    decoding_process.within_reach = lambda limits: "none was started"
    load = service.load
    service.load = lambda model, **settings: load(model, **settings | {"decode": "inline"})
    run_as_shipped(settings, listening)


def run_as_shipped(settings: Settings, listening: socket.socket) -> None:
    """The same with them."""
    import uvicorn

    from sdk.serve import app

    config = uvicorn.Config(app.create(settings), access_log=False, log_config=None)
    uvicorn.Server(config).run(sockets=[listening])


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes webhooks and counts them by job."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((body["id"], body["record"]["time"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.got = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Uploader(threading.Thread):
    """Hands in one file after another, each until it was accepted; every third one twice."""

    def __init__(self, port: int, key: str, *, seed: int, clip: bytes) -> None:
        super().__init__()
        self.port, self.key, self.seed, self.clip = port, key, seed, clip
        self.accepted: set[str] = set()
        self.ending = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.ending.is_set():
            name = 1000 * self.seed + number
            data = picture(name, size=(70, 70)) if number not in VIDEOS else self.clip + name.to_bytes(2)
            for _ in range(2 if number % 3 == 0 else 1):
                while (job := self.post(data)) is None:
                    time.sleep(0.01)
                self.accepted.add(job)
            number += 1
            time.sleep(0.05)

    def post(self, data: bytes) -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3)
        try:
            connection.request("POST", "/v1/jobs", data, {"Authorization": f"Bearer {self.key}"})
            answer = connection.getresponse()
            return json.loads(answer.read())["id"] if answer.status == 202 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "kills"), [("sqlite", 36), ("postgres", 14)])
def test_no_job_is_lost_and_none_is_answered_twice(kind, kills, request, make_settings, receiver, tmp_path):
    clip = videos.make(tmp_path / "clip.mp4", [grey(20 + number) for number in range(FRAMES)]).read_bytes()
    changes = {"lease_seconds": 0.5, "max_attempts": 1000, "webhook_seconds": 0.05, "webhook_attempts": 1000}
    changes |= {"webhook_timeout": 0.5, "metadata": False, "models": (str(toy_of_video(tmp_path)),)}
    if kind == "postgres":
        changes["database"] = fresh(request.getfixturevalue("postgres"))
    settings = make_settings(**changes)
    database = Database(settings.database)
    database.migrate()
    key = Keys(database).add("alice", role="submit", webhook=f"http://127.0.0.1:{receiver.server_port}/")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    uploaders = [Uploader(listening.getsockname()[1], key, seed=seed, clip=clip) for seed in (1, 2)]
    for uploader in uploaders:
        uploader.start()
    moments, decoding = random.Random(kills), 0
    for number in range(kills):
        as_shipped = kind == "sqlite" and number % AS_SHIPPED == 0
        server = context.Process(target=run_as_shipped if as_shipped else run, args=(settings, listening))
        server.start()
        starting = STARTING_DECODERS if as_shipped else STARTING
        live(moments, lambda: accepted_by(uploaders), starting=starting)
        decoding += len(family(server.pid)) > 1
        os.kill(server.pid, signal.SIGKILL)
        server.join()
    server = context.Process(target=run, args=(settings, listening))
    server.start()
    try:
        wait_until(lambda: accepted_by(uploaders) >= ENOUGH)
        for uploader in uploaders:
            uploader.ending.set()
            uploader.join(30)
        wait_until(lambda: open_jobs(database) == 0)
        wait_until(lambda: not pending(database))
    finally:
        os.kill(server.pid, signal.SIGTERM)
        server.join(20)
        listening.close()
    assert (decoding > 1) == (kind == "sqlite")  # killed while they had processes that decode
    assert server.exitcode == -signal.SIGTERM  # after what was begun was ended, uvicorn dies of the signal
    check(database, {job for uploader in uploaders for job in uploader.accepted}, receiver.got)
    database.close()


def accepted_by(uploaders: list[Uploader]) -> int:
    return sum(len(uploader.accepted) for uploader in uploaders)


def live(moments: random.Random, accepted: Callable[[], int], *, starting: float) -> None:
    """Wait for a moment of a server's start, every third time, or of its work."""
    if moments.random() < 1 / 3:
        time.sleep(moments.uniform(0, starting))
        return
    before, deadline = accepted(), time.monotonic() + 10
    while accepted() == before and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(moments.uniform(0, WORKING))


def check(database: Database, accepted: set[str], got: list[tuple[str, str]]) -> None:
    """Everything accepted was answered once, in one unbroken chain, and told to the webhook."""
    with database.read() as connection:
        answered = Counter(connection.execute(select(records.c.job_id)).scalars())
        texts = list(connection.execute(select(records.c.text).order_by(records.c.number)).scalars())
        states = set(connection.execute(select(jobs.c.state)).scalars())
        attempts = list(connection.execute(select(jobs.c.attempts)).scalars())
        videos = connection.execute(select(func.count()).where(jobs.c.kind == "video")).scalar_one()
    assert len(accepted) >= ENOUGH
    assert accepted <= set(answered)
    assert set(answered.values()) == {1}
    assert states == {"done"}
    assert max(attempts) > 1  # at least one was being examined when its server was killed
    watched = [video["frames"] for video in (json.loads(text)["video"] for text in texts) if video]
    assert len(watched) == videos > 1
    assert set(watched) == {FRAMES}
    assert count(database, uploads) == 0
    assert chain.check_chain(texts) == record.digest(texts[-1])
    assert {job for job, _ in got} == set(answered)
    assert len(set(got)) == len(answered)  # one that was told twice was told the same


def count(database: Database, table: object) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def open_jobs(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).where(jobs.c.state.in_(("queued", "running")))).scalar_one()


def pending(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).where(deliveries.c.state == "pending")).scalar_one()


def wait_until(condition) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
