"""When the service is alive, and when it is ready."""

from __future__ import annotations

import threading
import time

from fastapi.testclient import TestClient

from sdk.examiner import Examiner
from sdk.serve import app
from tests.sdk.serve.conftest import DIM, served


def test_it_is_not_ready_before_its_models_are_warm(make_settings, monkeypatch):
    asked, go, warmup = threading.Event(), threading.Event(), Examiner.warmup
    monkeypatch.setattr(Examiner, "warmup", lambda examiner: (asked.set(), go.wait(20), warmup(examiner)))
    with TestClient(app.create(make_settings(anyone=True))) as client:
        assert asked.wait(20)
        statuses = [client.get("/healthz").status_code, client.get("/readyz").status_code]
        refused = client.post("/v1/analyze", content=DIM)
        go.set()
        assert (statuses, refused.status_code, "retry-after" in refused.headers) == ([200, 503], 503, True)
        deadline = time.monotonic() + 20
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_models_that_cannot_be_loaded_end_the_service(make_settings):
    ended = threading.Event()
    application = app.create(make_settings(models=("no-such-model",)))
    application.state.give_up = ended.set
    with TestClient(application) as client:
        assert ended.wait(20)
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").status_code == 503
    assert "no model named 'no-such-model'" in application.state.service.failure


def test_nothing_is_let_in_while_the_service_ends(make_settings):
    with served(make_settings(anyone=True)) as client:
        client.app.state.service.gate.draining = True
        assert client.post("/v1/analyze", content=DIM).status_code == 503
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
