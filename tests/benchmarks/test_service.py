"""What the service costs is measured on uploads that are all different, and written with its provenance."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from benchmarks import service, wrk
from tests.sdk import toy

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed: apt-get install wrk")


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)))


def test_uploads_differ_in_nothing_that_is_seen():
    photograph = service.PHOTOGRAPH.read_bytes()
    files = [service.upload(photograph, number) for number in (0, 1, 10**12 - 1)]
    assert len({hashlib.sha256(file).digest() for file in files}) == 3
    assert all((pixels(file) == pixels(photograph)).all() for file in files)


@pytest.fixture
def receiver():
    """A server that keeps what is uploaded, and answers with its ``status``."""

    class Keeping(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.server.files.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(self.server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Keeping) as server:
        server.handle_error = lambda *_: None  # wrk ends with some under way
        server.files, server.status = [], 200
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@needs_wrk
def test_wrk_uploads_what_the_bare_analyzer_gets_each_number_once(receiver):
    turn = wrk.turn(receiver.server_port, service.PHOTOGRAPH, first=7_000_000, seconds=1, connections=2)
    assert {path for path, _ in receiver.files} == {"/v1/analyze"}
    files, photograph = {file for _, file in receiver.files}, service.PHOTOGRAPH.read_bytes()
    assert len(files) == len(receiver.files) >= turn.calls > 2
    numbers = range(7_000_000, 7_000_000 + len(files) + 2)  # wrk tries its script once, and ends with some under way
    assert files <= {service.upload(photograph, number) for number in numbers}
    assert turn.seconds == pytest.approx(1, abs=0.5)
    assert len(turn.ms) >= turn.calls
    assert 0 < min(turn.ms) <= max(turn.ms) < 1500


@needs_wrk
def test_uploads_that_are_refused_are_no_measurement(receiver):
    receiver.status = 429
    with pytest.raises(ValueError, match=r"did not answer every upload: \d+ calls, [1-9]\d* refused, 0 failed"):
        wrk.turn(receiver.server_port, service.PHOTOGRAPH, first=0, seconds=1, connections=1)


def test_without_wrk_it_is_named_before_anything_is_measured(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(ValueError, match="apt-get install wrk"):
        service.main(["--seconds", "1"])


def test_costs_are_differences_of_medians_and_shares_of_throughput():
    rows = [
        {"contender": "bare", "connections": 2, "p50_ms": 80.0, "per_s": 20.0},
        {"contender": "service", "connections": 2, "p50_ms": 83.0, "per_s": 18.9},
        {"contender": "examined", "connections": 2, "p50_ms": 81.0, "per_s": 19.0},
    ]
    (cost,) = service.costs(rows)
    assert cost == {
        "connections": 2,
        "p50_added_ms": 3.0,
        "throughput_lost": pytest.approx(0.055),
        "within_bounds": False,
    }
    rows[1]["per_s"] = 19.2
    assert service.costs(rows)[0]["within_bounds"]
    rows[1]["p50_ms"] = 85.1
    assert not service.costs(rows)[0]["within_bounds"]


def test_all_take_turns_on_uploads_of_their_own():
    order = []

    def contender(name, first, seconds):
        order.append((name, first, seconds))
        return wrk.Turn([20.0, 40.0], 2, 0.5 * seconds)

    contenders = {name: functools.partial(contender, name) for name in ("bare", "service")}
    rows = service.measured(contenders, connections=1, seconds=4, rounds=2)
    assert [name for name, _, _ in order] == ["bare", "service"] * 3
    assert [seconds for _, _, seconds in order] == [1, 1, 4, 4, 4, 4]
    assert np.diff([first for _, first, _ in order]).min() >= service.NUMBERS
    assert [(row["contender"], row["calls"], row["per_s"], row["p50_ms"]) for row in rows] == [
        ("bare", 4, 1.0, 30.0),
        ("service", 4, 1.0, 30.0),
    ]


def test_calls_that_a_slow_one_kept_away_are_counted_as_wrk_does():
    ms = [100.0] * 8 + [150.0, 450.0]
    assert wrk.with_missed(ms, seconds=1, connections=1) == [*ms, 350.0, 250.0, 150.0]
    assert wrk.with_missed(ms, seconds=1, connections=2) == [*ms, 250.0]
    assert wrk.with_missed([900.0], seconds=1, connections=2) == [900.0]


def test_in_process_those_calls_count_that_end_in_time():
    called, ends = [], threading.Event()

    def call(file):
        called.append(file)
        if len(called) == 3:
            assert not ends.wait(1.2)

    turn = service.in_process(call, service.PHOTOGRAPH.read_bytes(), connections=1)(5, 1)
    assert (turn.calls, len(turn.ms), turn.seconds) == (2, 2, 1.0)
    assert called == [service.upload(service.PHOTOGRAPH.read_bytes(), number) for number in (5, 6, 7)]


def test_a_service_that_never_settles_is_left(monkeypatch):
    said = iter([b"\nimdl_inflight 1.0\n", service.SETTLED])
    monkeypatch.setattr(service, "got", lambda *_: (200, next(said)))
    service.wait_until_settled(1)
    monkeypatch.setattr(service, "got", lambda *_: (200, b"\nimdl_inflight 1.0\n"))
    monkeypatch.setattr(service, "SETTLED_SECONDS", 0.1)
    monkeypatch.setattr(wrk, "turn", lambda *_, **__: wrk.Turn([], 0, 1.0))
    with pytest.raises(ValueError, match="did not end what wrk began"):
        service.over_http(1, service.PHOTOGRAPH, connections=1)(0, 1)


def test_a_contender_that_ended_no_call_has_no_row():
    with pytest.raises(ValueError, match="bare ended no call in a turn of 1 s"):
        service.row("bare", [wrk.Turn([], 0, 1.0)], 1)


@needs_wrk
@pytest.mark.slow
def test_results_are_written(tmp_path):
    model = toy.build(tmp_path / "toy")
    service.main(["--artifact", str(model), "--results", str(tmp_path), "--seconds", "2", "--rounds", "1",
                  "--connections", "2"])  # fmt: skip
    result = json.loads((tmp_path / "service-toy-cpu.json").read_text())
    assert [row["contender"] for row in result["rows"]] == ["decoding inside", "bare", "examined", "service"]
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in result["rows"])
    assert result["protocol"]["client"] == "wrk"
    assert result["provenance"]["cpu"]
