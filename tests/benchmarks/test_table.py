"""Tables hold what the results hold."""

from __future__ import annotations

import json

import pytest

from benchmarks import table


def row(contender: str, precision: str, median_ms: float, error: float | None) -> dict[str, object]:
    timing = {"median_ms": median_ms, "iqr_ms": 1.5, "runs": 9, "max_abs_heatmap": error}
    return {"contender": contender, "precision": precision, "height": 512, "width": 640} | timing


@pytest.fixture
def folder(tmp_path):
    result = {
        "kind": "latency", "model": "toy", "version": "1", "status": "preview",
        "protocol": {"threads": 2, "rounds": 9},
        "provenance": {"cpu": "a CPU", "cores": 2, "packages": {"numpy": "2.0"}, "commit": "abc", "date": "2026-01-01"},
        "rows": [row("imdl openvino", "f32", 50.0, 2e-6), row("eager torch", "f32", 400.0, None)],
        "absent": {"compiled torch bf16": "no compiler"},
        "fresh_processes": {"import_s": 0.1},
    }  # fmt: skip
    (tmp_path / "latency-toy-cpu.json").write_text(json.dumps(result), encoding="utf-8")
    return tmp_path


def test_speed_error_and_speedup_stand_in_one_row(folder):
    text = table.latency(folder)
    assert "| 640x512 | imdl openvino | f32 | 50 | 1.500 | 8.0 | 2e-06 |" in text
    assert "| 640x512 | eager torch | f32 | 400 | 1.500 | 1.0 | – |" in text
    assert "`toy` 1 (preview), 2 threads" in text
    assert "Not run: compiled torch bf16 (no compiler)." in text


def test_what_was_not_measured_is_a_dash(folder):
    assert "| `toy` | 0.100 | – | – |" in table.memory(folder)


def test_only_what_stands_between_the_markers_is_replaced(folder):
    text = "before\n<!-- table: memory -->\nold\n<!-- /table -->\nafter\n"
    filled = table.filled(text, folder)
    assert filled.startswith("before\n<!-- table: memory -->\n| model |")
    assert filled.endswith("<!-- /table -->\nafter\n")
    assert "old" not in filled
    assert table.filled(filled, folder) == filled


def test_a_table_without_results_says_so(tmp_path):
    assert "Not measured yet." in table.filled("<!-- table: accuracy -->\n<!-- /table -->", tmp_path)
