"""The throughput script writes complete rows: three figures, stages that add up, the network's size, the stream."""

from __future__ import annotations

import json

import pytest

from benchmarks import clip, fps, steady, table, throughput
from benchmarks.throughput import Setting, percentiles
from benchmarks.turn import Turn, TurnFailed
from tests.sdk import toy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("throughput")


@pytest.fixture(scope="module")
def result(folder):
    model = toy.build(folder / "toy")
    options = ["--size", "128x96", "--working-size", "64", "--batch", "2", "1", "--frames", "6", "--rounds", "1"]
    options += ["--threads", "1", "--backend", "openvino", "--precision", "f32", "--calls", "3"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(throughput, "torch_side", lambda *_: "no model named 'toy'")
        patch.setattr(throughput, "rates", lambda *_, **__: {"f32": {"flops_per_s": 1e12, "bytes_per_s": 1e10}})
        throughput.main(["--artifact", str(model), "--results", str(folder), *options])
    return json.loads((folder / "throughput-toy-cpu.json").read_text(encoding="utf-8"))


def test_every_setting_has_a_row_with_the_size_that_the_network_sees(result):
    seen = [(row["batch"], row["network_width"], row["network_height"]) for row in result["rows"]]
    assert seen == [(2, 64, 48), (1, 64, 48)]
    assert {row["run_by"] for row in result["rows"]} == {"imdl openvino"}


def test_three_figures_stand_beside_each_other(result):
    for row in result["rows"]:
        assert row["engine"]["p50_ms"] <= row["frame"]["p50_ms"]
        assert row["frame"]["fps"] == pytest.approx(1e3 * row["batch"] / row["frame"]["p50_ms"], rel=1e-3)
        assert (row["file"] is None) == (row["batch"] > 1)
        assert "decode" in row["stages_ms"]
        assert 0.2 < row["accounted"] < 1.2
        assert row["peak_rss_mib"] > 30


def test_the_stream_is_played_from_end_to_end(result):
    assert len(result["streams"]) == 1
    for row in result["streams"]:
        assert row["analysed"] == 6
        assert row["fps"] > 0
        assert row["p50_ms"] <= row["p99_ms"]
        assert row["peak_rss_mib"] >= max(row["quarters_mib"]) > 30


def test_torch_that_does_not_know_the_model_is_absent_with_the_reason(result):
    assert result["absent"]["eager torch f32 at 128x96@64 x1"] == "no model named 'toy'"
    assert result["absent"]["compiled torch f32 at 128x96@64 x2"] == "no model named 'toy'"


def test_a_working_size_that_changes_nothing_is_left_out():
    options = throughput.parser().parse_args(["--size", "256x128", "1920x1080", "--batch", "1", "4"])
    found = {(one.width, one.working_size, one.batch) for one in throughput.settings(options)}
    assert found == {(width, size, batch) for width, size in ((256, 0), (1920, 0), (1920, 512)) for batch in (1, 4)}


def test_the_table_and_the_picture_show_every_row(result, folder):
    text = table.throughput(folder)
    assert "| 128x96 | 64x48 | 2 | imdl openvino | f32 |" in text
    assert "| 128x96 | 64x48 | imdl stream openvino | f32 |" in text
    assert "f32 1 TFLOP/s and 10 GB/s" in text
    assert fps.draw(result, folder / "a.png").stat().st_size > 10_000


def test_percentiles_are_of_all_calls():
    found = percentiles(range(1, 102), 4)
    assert found == {"fps": pytest.approx(4e3 / 51), "p50_ms": 51, "p95_ms": 96, "p99_ms": 100, "calls": 101}


@pytest.mark.parametrize(
    ("stages", "engine", "accounted"),
    [({"decode": [1.0, 1.0], "whole": [7.0, 7.0], "result": [1.5, 1.5]}, 7.0, 0.95), ({}, None, None)],
    ids=["ours", "torch"],
)
def test_the_engine_alone_is_all_that_is_neither_before_nor_after_it(stages, engine, accounted):
    turn = Turn(wall_ms=10, cpu_ms=10, ready_s=0, peak_rss_mib=0, times_ms=[10.0, 10.0], stages_ms=stages)
    found = throughput._by_stage([turn], Setting(8, 8, 0, 1), 0.0035)
    assert (found["engine"] and found["engine"]["p50_ms"]) == engine
    assert found["accounted"] == (accounted and pytest.approx(accounted))
    assert found["reached"] == (engine and pytest.approx(0.5))
    assert found["bound_fps"] == pytest.approx(1 / 0.0035)


def test_speedups_are_over_eager_torch_in_the_same_setting_and_precision():
    def row(run_by: str, precision: str, rate: float, batch: int = 1) -> dict[str, object]:
        frame = {"fps": rate, "p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.0}
        where = {"height": 8, "width": 8, "network_height": 8, "network_width": 8, "batch": batch}
        rest = dict.fromkeys(("engine", "file", "reached", "accounted", "device_mib"))
        return {"run_by": run_by, "precision": precision, "frame": frame, "peak_rss_mib": 1.0, **where, **rest}

    ours, theirs = row("imdl tensorrt", "fp16", 100.0), row("eager torch", "fp16", 40.0)
    twice = row("imdl tensorrt", "fp16", 9.0, 2)
    rest = [twice, row("eager torch", "f32", 10.0), row("imdl onnxruntime", "bf16", 30.0)]
    found = {(one["run_by"], one["batch"]): one["speedup"] for one in fps.rows({"rows": [ours, theirs, *rest]})}
    assert found["imdl tensorrt", 1] == "2.5"
    assert found["imdl onnxruntime", 1] == "3.0"
    assert found["imdl tensorrt", 2] is None


def test_a_clip_that_cannot_be_played_is_told(tmp_path):
    with pytest.raises(TurnFailed, match=r"missing\.mp4 cannot be opened: No such file"):
        clip.play(tmp_path / "missing.mp4", ["--working-size", "64", "--threads", "1"], limit_s=60)


def test_steady_writes_what_was_held(folder, result):
    options = ["--frames", "8", "--threads", "1", "--results", str(folder), "--artifact", str(folder / "toy")]
    steady.main(options)
    found = json.loads((folder / "steady-toy-cpu.json").read_text(encoding="utf-8"))
    assert found["analysed"] == 8
    assert found["growth_mib"] == pytest.approx(found["quarters_mib"][-1] - found["quarters_mib"][1], abs=0.2)
    assert "| `toy` | 8 | 64 |" in table.steady(folder)
