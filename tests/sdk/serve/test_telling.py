"""What operators see: lines of JSON without names, spans where OpenTelemetry is."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from sdk.serve import logs, tracing
from tests.sdk.serve.conftest import DIM, picture


def test_a_line_is_json_with_its_facts():
    record = logging.LogRecord("sdk.serve", logging.INFO, "f", 1, "examined", (), None)
    record.facts = {"job": "a", "ms": 1.5}
    line = json.loads(logs.JsonLines().format(record))
    assert {key: line[key] for key in ("event", "level", "job", "ms")} == {
        "event": "examined", "level": "info", "job": "a", "ms": 1.5,
    }  # fmt: skip
    assert line["time"].endswith("Z")


def test_a_fault_is_one_line_too():
    try:
        json.loads("{")
    except ValueError:
        record = logging.LogRecord("sdk.serve", logging.ERROR, "f", 1, "fault", (), sys.exc_info())
    text = logs.JsonLines().format(record)
    assert "\n" not in text
    assert "JSONDecodeError" in json.loads(text)["trace"]


def test_requests_are_logged_without_names(service, caplog):
    with caplog.at_level(logging.INFO, "sdk.serve"):
        files = {"file": ("my-holiday.png", DIM)}
        service.post("/v1/analyze?content=default", files=files, headers=service.keys["alice"])
        service.get("/some/private/path?token=secret", headers=service.keys["alice"])
    lines = [logs.JsonLines().format(record) for record in caplog.records]
    assert any(json.loads(line)["event"] == "request" for line in lines)
    assert json.loads(lines[-1])["route"] == "none"
    told = " ".join(lines)
    assert logs.short("alice") in told
    assert not [name for name in ("holiday", "alice", "private", "secret", "imdl_") if name in told]


@pytest.fixture
def spans(monkeypatch):
    """What OpenTelemetry is told."""
    pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(tracing.trace, "get_tracer", provider.get_tracer)
    return kept


def test_the_examination_is_within_its_request(service, spans):
    data = picture(91)
    job = service.post("/v1/analyze", content=data, headers=service.keys["alice"]).json()["id"]
    made = {span.name: span for span in spans.get_finished_spans()}
    assert dict(made["imdl.examine"].attributes) == {"job": job, "bytes": len(data)}
    assert dict(made["imdl.answer"].attributes) == {"job": job, "action": "pass"}
    for name in ("imdl.examine", "imdl.answer"):
        assert made[name].parent.span_id == made["imdl.request"].context.span_id


def test_without_opentelemetry_there_are_no_spans(monkeypatch):
    monkeypatch.setattr(tracing, "trace", None)
    with tracing.span("imdl.request") as nothing:
        assert nothing is None
