"""What the service costs is measured on uploads that are all different, and written with its provenance."""

from __future__ import annotations

import hashlib
import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from benchmarks import service
from tests.sdk import toy


def test_uploads_differ_in_nothing_that_is_seen():
    files = list(itertools.islice(service.uploads(service.PHOTOGRAPH.read_bytes()), 3))
    assert len({hashlib.sha256(file).digest() for file in files}) == 3
    pixels = [np.asarray(Image.open(io.BytesIO(file))) for file in (*files, service.PHOTOGRAPH.read_bytes())]
    assert all((each == pixels[0]).all() for each in pixels)


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


def test_both_take_turns_on_files_of_their_own():
    order = []
    contenders = {name: lambda file, name=name: order.append((name, file)) for name in ("bare", "service")}
    rows = service.measured(contenders, iter(map(str, range(100))), connections=1, calls=3, rounds=2)
    assert [name for name, _ in order[2:]] == ["bare"] * 3 + ["service"] * 3 + ["bare"] * 3 + ["service"] * 3
    assert len({file for _, file in order}) == len(order)
    assert [(row["contender"], row["calls"]) for row in rows] == [("bare", 6), ("service", 6)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nDate: now\r\ncontent-length: 2\r\n\r\n{}rest", (200, b"{}")),
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", (429, b"")),
        (b"", (0, b"")),
    ],
    ids=["answer", "refusal", "gone"],
)
def test_an_answer_is_read_to_its_end_and_no_further(said, expected):
    sent = io.BytesIO()
    wire = io.BufferedRWPair(io.BytesIO(said), sent)
    assert service.asked(wire, b"file") == expected
    assert sent.getvalue() == b"POST /v1/analyze HTTP/1.1\r\nHost: service\r\nContent-Length: 4\r\n\r\nfile"


@pytest.mark.slow
def test_results_are_written(tmp_path):
    model = toy.build(tmp_path / "toy")
    service.main(["--artifact", str(model), "--results", str(tmp_path), "--calls", "2", "--rounds", "1",
                  "--connections", "1"])  # fmt: skip
    result = json.loads((tmp_path / "service-toy-cpu.json").read_text())
    assert [row["contender"] for row in result["rows"]] == ["bare", "examined", "service"]
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in result["rows"])
    assert result["provenance"]["cpu"]
