"""The latency script writes complete results, and its contenders do the same work."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import latency
from benchmarks.turn import Turn, TurnFailed
from tests.sdk import toy

PROTOCOL = latency.Protocol(threads=1, rounds=3, warmup=1, calls=1, limit_s=60)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latency")
    model = toy.build(folder / "toy")
    options = ["--rounds", "2", "--calls", "1", "--threads", "1", "--size", "64x40", "--only", "imdl openvino", "eager"]
    latency.main(["--artifact", str(model), "--results", str(folder), *options])
    return json.loads((folder / "latency-toy-cpu.json").read_text(encoding="utf-8"))


def test_a_contender_that_ran_has_a_row(result):
    found = {(row["contender"], row["precision"]) for row in result["rows"]}
    assert found == {("imdl openvino", "f32")}
    for row in result["rows"]:
        assert (row["height"], row["width"], row["runs"]) == (40, 64, 2)
        assert row["median_ms"] > 0
        assert row["cpu_ms"] > 0
        assert 30 < row["peak_rss_mib"] < 2000


def test_who_cannot_run_is_listed_with_the_reason(result):
    assert "no model named 'toy'" in result["absent"]["eager torch f32 at 64x40"]
    assert "bf16" in result["absent"]["imdl openvino bf16 at 64x40"]


def test_who_was_left_out_is_named(result):
    assert "plain onnxruntime f32" in result["left_out"]
    assert "eager torch f32" not in result["left_out"]


def test_provenance_is_recorded(result):
    assert result["provenance"]["cpu"]
    assert result["protocol"]["calls"] == 1


@pytest.fixture
def race(monkeypatch, tmp_path):
    """Three rounds among four whose times are known: base 100 ms, then 200, then 400, as the machine grows slow."""
    order = []

    def take(job, *, limit_s):
        assert limit_s == 60
        order.append(job.load)
        if job.load == "broken":
            raise TurnFailed("no compiler")
        slow = 2 ** (order.count(job.load) - 1)
        wall = {"base": 100.0, "whole": 50.0, "score": 40.0}[job.load] * slow
        if job.answer:
            heatmap = np.full((2, 2), 0.25 if job.load == "base" else 0.5, np.float32)
            np.savez(job.answer, heatmap=heatmap[: 0 if job.load == "score" else 2], score=wall / 1000)
        times = [wall / 2, wall, 2 * wall]
        return Turn(wall_ms=wall, cpu_ms=2 * wall, ready_s=1.0, peak_rss_mib=10.0 * slow, times_ms=times)

    monkeypatch.setattr(latency, "take", take)
    loads = {
        latency.BASE: "base",
        "imdl openvino f32": "whole",
        "imdl score only f32": "score",
        "compiled torch bf16": "broken",
    }
    made = latency.Race({name: (load, {}) for name, load in loads.items()}, (2, 2), PROTOCOL)
    made.run(tmp_path)
    made.compare(tmp_path)
    return made, order


def test_first_place_goes_round_and_the_broken_one_is_tried_once(race):
    _, order = race
    assert " ".join(order) == "base whole score broken whole score base score base whole"


def test_ratios_are_taken_within_a_round(race):
    made, _ = race
    rows = {row["contender"]: row for row in made.rows(0.16)}
    assert [rows[name]["speedup"] for name in ("eager torch", "imdl openvino", "imdl score only")] == [1, 2, 2.5]
    assert rows["imdl openvino"]["median_ms"] == 100
    assert rows["imdl openvino"]["cpu_ms"] == 200
    assert (rows["imdl openvino"]["p99_ms"], rows["imdl openvino"]["calls"]) == (pytest.approx(384), 9)
    assert rows["imdl openvino"]["peak_rss_mib"] == 40
    assert rows["imdl score only"]["saved"] == pytest.approx(0.2)
    assert rows["imdl score only"]["saved_at_most"] == 0.16
    assert "saved" not in rows["imdl openvino"]


def test_the_least_time_is_of_the_precision_and_of_the_whole_work(race):
    made, _ = race
    rows = {row["contender"]: row for row in made.rows(0.16, {"f32": 0.02})}
    assert rows["imdl openvino"]["least_ms"] == 20
    assert "least_ms" not in rows["imdl score only"]
    assert not any("least_ms" in row for row in made.rows(0.16, {"bf16": 0.02}))


def test_answers_are_compared_with_the_base(race):
    made, _ = race
    rows = {row["contender"]: row for row in made.rows(None)}
    assert rows["imdl openvino"]["max_abs_heatmap"] == 0.25
    assert rows["imdl openvino"]["abs_score"] == pytest.approx(0.05)
    assert rows["imdl score only"]["max_abs_heatmap"] is None
    assert made.absent == {"compiled torch bf16": "no compiler"}


def test_a_size_is_width_by_height():
    assert latency.size("1920x1080") == (1080, 1920)
