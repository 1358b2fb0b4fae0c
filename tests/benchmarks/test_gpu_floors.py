"""Floors of a GPU are read off its own results, the best backend counts, and without a GPU there are none."""

from __future__ import annotations

import pytest

from benchmarks import gpu_floors, table

EAGER = {"run_by": "eager torch", "precision": "fp16", "frame": {"fps": 30.0}}


def row(fps: float, *, working_size: int = 0, **changes: object) -> dict[str, object]:
    made = {
        "run_by": "imdl tensorrt", "precision": "fp16", "height": 1080, "width": 1920, "batch": 1,
        "working_size": working_size, "engine": {"fps": 1.5 * fps}, "frame": {"fps": fps}, "bound_fps": 207.0,
    }  # fmt: skip
    return made | changes


def result(**changes: object) -> dict[str, object]:
    rows = [
        row(80.0), row(70.0, run_by="imdl aotinductor"), row(999.0, precision="f32"), row(999.0, batch=4),
        row(999.0, height=512, width=512), row(399.0, working_size=512),
    ]  # fmt: skip
    stream = row(0.0) | {"run_by": "imdl stream tensorrt", "fps": 49.0}
    made = {"kind": "throughput", "model": "psccnet", "device": "cuda", "host": "h200", "rows": rows}
    return made | {"streams": [stream, row(0.0) | {"run_by": "imdl stream x", "failed": "why"}]} | changes


def test_each_figure_is_the_best_of_all_backends_in_low_precision():
    found = [(floor.needed, floor.found, floor.reached) for floor in gpu_floors.of(result())]
    assert found == [(100, 120, True), (80, 80, True), (50, 49, False), (400, 399, False), (2.5, None, False)]
    assert next(iter(gpu_floors.of(result()))).bound == 207


@pytest.mark.parametrize(("fps", "times", "reached"), [(32.0, 2.5, True), (40.0, 2.0, False)])
def test_eager_torch_may_stand_in_a_file_of_its_own(fps, times, reached):
    beside = [row(0.0) | EAGER | {"frame": {"fps": fps}}, row(0.0) | EAGER | {"precision": "bf16"}]
    *_, last = gpu_floors.of(result(), beside=beside)
    assert (last.found, last.reached) == (times, reached)


def test_what_was_not_measured_is_not_reached():
    empty = [floor.found for floor in gpu_floors.of(result(rows=[], streams=[]))]
    assert empty == [None] * 5


@pytest.mark.parametrize("changes", [{"device": "cpu"}, {"model": "psccnet-lite"}])
def test_of_a_cpu_and_of_other_models_nothing_is_asked(changes):
    assert list(gpu_floors.of(result(**changes))) == []


def test_the_table_shows_them_beside_what_is_asked(tmp_path, monkeypatch):
    torch = result(host="h200-torch", rows=[row(0.0) | EAGER | {"frame": {"fps": 32.0}}], streams=[])
    found = {"throughput": [result(), torch]}
    monkeypatch.setattr(table, "results", lambda kind, folder: found.get(kind, []))
    lines = table.floors(tmp_path).splitlines()
    assert "| `psccnet` | 1920x1080 at its own size, the graphs alone, FPS | 100 | 120 | reached | – | 207 |" in lines
    assert (
        "| `psccnet` | 1920x1080 at its own size, times as fast as eager PyTorch | 2.5 | 2.5 | reached | – | – |"
        in lines
    )
    assert len(lines) == 2 + 5
