"""Answers that come after their client was turned away: kept, told to the webhook, tried again."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import select

from sdk.errors import RunFailed
from sdk.serve.desk import Desk
from sdk.serve.jobs import Job
from sdk.serve.tables import deliveries
from tests.sdk.serve.conftest import DIM, finished, served


def test_an_answer_that_takes_too_long_can_be_fetched_later(make_settings, monkeypatch):
    with served(make_settings(anyone=True, seconds=0.3)) as client:
        desk = client.app.state.service.desk
        go, examine = threading.Event(), desk._examiner.examine
        monkeypatch.setattr(desk._examiner, "examine", lambda *a, **k: go.wait(20) and examine(*a, **k))
        answer = client.post("/v1/analyze", content=DIM)
        gate = client.app.state.service.gate
        assert (gate.inflight, gate.bytes) == (1, len(DIM))  # what is still to be examined counts
        assert answer.status_code == 504
        job = answer.json()["error"]["remedy"].split("/v1/jobs/")[1][:32]
        assert client.get(f"/v1/jobs/{job}").json()["state"] == "running"
        assert client.app.state.service.jobs.take() is None  # nobody else examines it meanwhile
        go.set()
        assert finished(client, job, {})["action"] == "pass"
        deadline = time.monotonic() + 20
        while gate.inflight:
            assert time.monotonic() < deadline
            client.get("/healthz")
        assert gate.bytes == 0


def end(desk: Desk, go: threading.Event) -> None:
    """Let what is examined go on, and wait for its end."""
    go.set()
    deadline = time.monotonic() + 20
    while desk._now:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("ended", [False, True], ids=["under way", "ended meanwhile"])
def test_an_answer_that_takes_too_long_is_told_to_the_webhook(make_settings, monkeypatch, ended):
    """Nobody gets it otherwise, not even where it came while the upload was being turned away."""
    with served(make_settings(seconds=0.3)) as client:
        service = client.app.state.service
        key = service.keys.add("late", role="submit", webhook="http://127.0.0.1:9/")
        desk, go = service.desk, threading.Event()
        examine, keep = desk._examiner.examine, desk.keep
        monkeypatch.setattr(desk._examiner, "examine", lambda *a, **k: go.wait(20) and examine(*a, **k))

        def kept(job: Job, data: bytes) -> None:
            if ended:
                end(desk, go)
            keep(job, data)

        monkeypatch.setattr(desk, "keep", kept)
        headers = {"Authorization": f"Bearer {key}"}
        answer = client.post("/v1/analyze", content=DIM, headers=headers)
        assert answer.status_code == 504
        go.set()
        job = answer.json()["error"]["remedy"].split("/v1/jobs/")[1][:32]
        assert finished(client, job, headers)["action"] == "pass"
        with service.database.read() as connection:
            assert list(connection.execute(select(deliveries.c.job_id)).scalars()) == [job]


def test_an_answer_given_at_once_is_not_told_to_the_webhook(make_settings):
    with served(make_settings()) as client:
        service = client.app.state.service
        key = service.keys.add("quick", role="submit", webhook="http://127.0.0.1:9/")
        assert client.post("/v1/analyze", content=DIM, headers={"Authorization": f"Bearer {key}"}).status_code == 200
        with service.database.read() as connection:
            assert list(connection.execute(select(deliveries.c.job_id)).scalars()) == []


@pytest.mark.parametrize("failed", [False, True], ids=["under way", "failed meanwhile"])
def test_an_upload_that_nobody_waits_for_any_longer_is_tried_again_after_a_fault(make_settings, monkeypatch, failed):
    with served(make_settings(anyone=True, seconds=0.3)) as client:
        desk, go = client.app.state.service.desk, threading.Event()
        keep = desk.keep

        def kept(job: Job, data: bytes) -> None:
            if failed:
                end(desk, go)
            keep(job, data)

        monkeypatch.setattr(desk, "keep", kept)

        def fail(*_: object, **__: object) -> None:
            go.wait(20)
            patched.undo()
            raise RunFailed("no memory", remedy="buy some")

        with monkeypatch.context() as patched:
            patched.setattr(desk._examiner, "examine", fail)
            answer = client.post("/v1/analyze", content=DIM)
            job = answer.json()["error"]["remedy"].split("/v1/jobs/")[1][:32]
            go.set()
            assert finished(client, job, {})["action"] == "pass"
