"""The throughput script writes complete rows: three figures, stages that add up, the network's size, the stream."""

from __future__ import annotations

import json

import pytest

from benchmarks import clip, contenders, fps, steady, table, throughput
from benchmarks.contenders import Answer
from benchmarks.throughput import Setting, rate
from benchmarks.turn import LEAST, Turn, TurnFailed, timed
from tests.sdk import toy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("throughput")


@pytest.fixture(scope="module")
def result(folder):
    model = toy.build(folder / "toy")
    options = ["--size", "128x96", "--working-size", "64", "--batch", "2", "1", "--frames", "6", "--rounds", "1"]
    options += ["--threads", "1", "--backend", "openvino", "--precision", "f32", "--calls", "3"]
    options += ["--only", "imdl", "eager"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(throughput, "torch_side", lambda *_, **__: "no model named 'toy'")
        patch.setattr(throughput, "rates", lambda *_, **__: {"f32": {"flops_per_s": 1e12, "bytes_per_s": 1e10}})
        throughput.main(["--artifact", str(model), "--results", str(folder), *options])
    return json.loads((folder / "throughput-toy-cpu.json").read_text(encoding="utf-8"))


def test_every_setting_has_a_row_with_the_size_that_the_network_sees(result):
    seen = [(row["batch"], row["network_width"], row["network_height"]) for row in result["rows"]]
    assert seen == [(2, 64, 48), (1, 64, 48)]
    assert {row["run_by"] for row in result["rows"]} == {"imdl openvino"}


def test_who_was_left_out_is_named(result):
    assert result["left_out"] == ["compiled torch f32"]


def test_three_figures_stand_beside_each_other(result):
    for row in result["rows"]:
        assert row["engine"] is None or row["engine"]["p50_ms"] <= row["frame"]["p50_ms"]
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
    assert result["absent"]["eager torch f32 at 128x96@64 x2"] == "no model named 'toy'"


def test_a_working_size_that_changes_nothing_is_left_out():
    options = throughput.parser().parse_args(["--size", "256x128", "1920x1080", "--batch", "1", "4"])
    found = {(one.width, one.working_size, one.batch) for one in throughput.settings(options)}
    assert found == {(width, size, batch) for width, size in ((256, 0), (1920, 0), (1920, 512)) for batch in (1, 4)}


def test_the_table_and_the_picture_show_every_row(result, folder):
    assert "![" not in table.throughput(folder)
    picture = fps.draw(result, folder / "throughput-toy-cpu.png")
    assert picture.stat().st_size > 10_000
    text = table.throughput(folder)
    assert f"](../benchmarks/results/{picture.name})" in text
    assert "| 128x96 | 64x48 | 2 | imdl openvino | f32 |" in text
    assert "| 128x96 | 64x48 | imdl stream openvino | f32 |" in text
    assert "f32 1 TFLOP/s and 10 GB/s" in text


def test_the_rate_is_of_the_median_call():
    found = rate(range(1, 102), 4)
    assert found == {"fps": pytest.approx(4e3 / 51), "p50_ms": 51, "p95_ms": 96, "p99_ms": 100, "calls": 101}


@pytest.mark.parametrize(
    ("stages", "engine", "accounted"),
    [({"decode": [1.3, 1.3], "whole": [7.0, 7.0], "result": [1.5, 1.5]}, 7.0, 0.98), ({}, None, None)],
    ids=["ours", "torch"],
)
def test_the_engine_alone_is_all_that_is_neither_before_nor_after_it(stages, engine, accounted):
    turn = Turn(wall_ms=10, cpu_ms=10, ready_s=0, peak_rss_mib=0, times_ms=[10.0, 10.0], stages_ms=stages)
    found = throughput._by_stage([turn], Setting(8, 8, 0, 1), 0.0035)
    assert (found["engine"] and found["engine"]["p50_ms"]) == engine
    assert found["accounted"] == (accounted and pytest.approx(accounted))
    assert found["reached"] == (engine and pytest.approx(0.5))
    assert found["bound_fps"] == pytest.approx(1 / 0.0035)


class Clock:
    """Seconds that pass only while a call takes them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def call(self, ms: float, stages: dict[str, float]) -> contenders.Call:
        def taken(_: object) -> Answer:
            self.now += ms / 1e3
            return Answer(None, 0.0, stages)

        return taken


@pytest.mark.parametrize(
    ("told_ms", "is_named"), [(1000, False), (971, False), (1029, False), (969, True), (1031, True), (500, True)]
)
def test_a_row_whose_stages_are_not_the_wall_time_is_named_and_has_no_engine_alone(told_ms, is_named, tmp_path):
    clock, setting = Clock(), Setting(1080, 1920, 512, 1)
    calls = timed(clock.call(1000, {"decode": 50.0, "whole": told_ms - 50.0}), None, 4, clock=clock)
    stages = {name: [one.stages[name] for one in calls] for name in calls[0].stages}
    times = [one.wall_ms for one in calls]
    turn = Turn(wall_ms=1000, cpu_ms=1, ready_s=0, peak_rss_mib=1, times_ms=times, stages_ms=stages)
    race = type("Race", (), {"present": ["imdl openvino f32"], "turns": {"imdl openvino f32": [turn, turn]}})
    found = list(throughput.rows(race, setting, {"f32": 0.5}))
    named = throughput.unaccounted(found)
    expected = f"imdl openvino f32 at 1920x1080@512 x1: its stages are {told_ms / 10:.1f}% of the wall time"
    assert named == [expected] * is_named
    assert (found[0]["engine"] is None) == (found[0]["reached"] is None) == is_named
    result = {"rows": found, "streams": [], "absent": {}, "unaccounted": named}
    assert list(fps.remarks(result)) == [f"Not told by stages: {expected}."] * is_named
    (shown,) = fps.rows(result)
    assert (shown["engine_fps"], shown["calls"]) == (None if is_named else pytest.approx(1e3 / (told_ms - 50)), 8)


def test_calls_end_with_their_seconds_but_not_before_there_are_a_few():
    clock = Clock()
    assert len(timed(clock.call(250, {}), None, 100, seconds=2.0, clock=clock)) == 8
    assert len(timed(clock.call(250, {}), None, 5, seconds=2.0, clock=clock)) == 5
    assert len(timed(clock.call(9000, {}), None, 100, seconds=2.0, clock=clock)) == LEAST
    assert len(timed(clock.call(9000, {}), None, 7, clock=clock)) == 7


@pytest.mark.parametrize(
    ("seconds", "rate", "frames"), [(None, 0.1, 60), (4.0, 5.0, 20), (4.0, 0.5, 12), (4.0, 900.0, 60)]
)
def test_a_clip_is_as_long_as_its_seconds_allow(seconds, rate, frames):
    options = throughput.parser().parse_args(["--frames", "60"])
    options.seconds = seconds
    assert throughput.length(options, rate) == frames


def test_of_a_batch_what_is_done_for_each_frame_is_added_up():
    stages = [{"decode": 2.0, "whole": 9.0, "result": 1.0}, {"decode": 3.0, "whole": 9.0, "result": 1.5}]
    assert contenders._together(stages) == {"decode": 5.0, "whole": 9.0, "result": 2.5}


def test_a_stream_that_failed_is_told_and_has_no_row():
    row = {"run_by": "imdl stream openvino", "precision": "bf16", "failed": "no bf16", **Setting(8, 16, 0, 1).row()}
    result = {"rows": [], "streams": [row], "absent": {"eager torch f32 at 16x8@0 x1": "no torch"}, "unaccounted": []}
    result["left_out"] = ["compiled torch bf16", "compiled torch f32"]
    assert list(fps.streams(result)) == []
    assert list(fps.remarks(result)) == [
        "Not run: eager torch f32 at 16x8@0 x1 (no torch).",
        "Not run: imdl stream openvino bf16 at 16x8, analysed as 16x8 (no bf16).",
        "Left out of this measurement: compiled torch bf16, compiled torch f32.",
    ]


def test_speedups_are_over_eager_torch_in_the_same_setting_and_precision():
    def row(run_by: str, precision: str, rate: float, batch: int = 1) -> dict[str, object]:
        frame = {"fps": rate, "p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.0, "calls": 1}
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
    apart = [{"model": "toy", "host": host, "rows": [theirs]} for host in ("h200-torch", "a100-torch")]
    beside = fps.beside({"model": "toy", "host": "h200"}, apart)
    assert [one["speedup"] for one in fps.rows({"rows": [ours]}, beside)] == ["2.5"]
    assert fps.beside({"model": "toy", "host": "h100"}, apart) == []


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
