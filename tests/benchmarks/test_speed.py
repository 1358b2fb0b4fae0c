"""A floor of speed or memory is reached, missed or not measured, with the bounds that were found beside it."""

from __future__ import annotations

import json

import pytest

from benchmarks import speed, table


def row(contender: str, precision: str, median_ms: float, **more: float) -> dict[str, object]:
    return {
        "contender": contender, "precision": precision, "height": 1080, "width": 1920, "median_ms": median_ms, **more
    }  # fmt: skip


def result(ours_ms: float) -> dict[str, object]:
    return {
        "kind": "latency",
        "model": "psccnet",
        "rows": [
            row("eager torch", "f32", 40_000.0),
            row("one piece openvino", "bf16", 3000.0),
            row("plain openvino", "bf16", 2400.0),
            row("imdl openvino", "bf16", ours_ms, least_ms=1000.0),
            row("imdl openvino", "f32", 1.0),
        ],
    }


def of_1080p(ours_ms: float) -> list[speed.Floor]:
    return [floor for floor in speed.of_latency(result(ours_ms)) if floor.what.startswith("1920x1080 bf16")]


@pytest.mark.parametrize(("ours_ms", "reached"), [(2000.0, [True, True]), (2001.0, [False, False])])
def test_a_floor_is_a_ratio_of_medians(ours_ms, reached):
    against_eager, against_runtime = of_1080p(ours_ms)
    assert against_eager.found == 40_000 / ours_ms
    assert against_runtime.found == 2400 / ours_ms
    assert [floor.reached for floor in (against_eager, against_runtime)] == reached


def test_the_bounds_are_those_of_the_same_frame_and_precision():
    against_eager, against_runtime = of_1080p(2200.0)
    assert (against_eager.runtime, against_eager.bound) == (40_000 / 2400, 40.0)
    assert (against_runtime.runtime, against_runtime.bound) == (1.0, 2.4)


def test_what_was_not_measured_is_not_reached():
    small = [floor for floor in speed.of_latency(result(2000.0)) if floor.what.startswith("512x512")]
    assert [(floor.found, floor.reached) for floor in small] == [(None, False)] * 2
    assert not any(floor.reached for floor in speed.of_latency({"rows": []}))
    assert not any(floor.reached for floor in speed.of_memory({"precision": "f32"}))


MEMORY = {"import_s": 0.3, "first_analysis_s": 2.01, "precision": "bf16"}


def test_memory_is_to_stay_below_its_floor():
    found = {floor.what: floor.reached for floor in speed.of_memory(MEMORY)}
    assert found["import sdk, s at most"]
    assert not found["load and first analysis at 512, s at most, bf16"]


def test_the_table_says_which_floors_are_missed(tmp_path):
    (tmp_path / "latency-psccnet-cpu.json").write_text(json.dumps(result(2500.0)), encoding="utf-8")
    (tmp_path / "latency-other-cpu.json").write_text(json.dumps(result(1.0) | {"model": "other"}), encoding="utf-8")
    (tmp_path / "memory-psccnet-cpu.json").write_text(
        '{"kind": "memory", "model": "psccnet", "import_s": 0.01, "precision": "f32"}'
    )
    text = table.floors(tmp_path)
    assert "| `psccnet` | 1920x1080 bf16, as the runtime alone | 1.2 | 0.96 | missed | 1 | 2.4 |" in text
    assert "| `psccnet` | import sdk, s at most | 0.3 | 0.01 | reached | – | – |" in text
    assert "| `psccnet` | the same, 24 megapixels, f32 | 7,629 | – | not measured | – | – |" in text
    assert "other" not in text
