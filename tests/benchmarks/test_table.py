"""Tables hold what the results hold."""

from __future__ import annotations

import json

import pytest

from benchmarks import table


def row(contender: str, precision: str, median_ms: float, **figures: float) -> dict[str, object]:
    timing = {"median_ms": median_ms, "iqr_ms": 1.5, "runs": 9}
    return {"contender": contender, "precision": precision, "height": 512, "width": 640} | timing | figures


@pytest.fixture
def folder(tmp_path):
    common = {"model": "toy", "version": "1", "status": "preview"}
    latency = {
        "kind": "latency", **common, "protocol": {"threads": 2, "rounds": 9},
        "provenance": {"cpu": "a CPU", "cores": 2, "packages": {"numpy": "2.0"}, "commit": "abc", "date": "2026-01-01"},
        "rows": [
            row("imdl openvino", "f32", 50.0, cpu_ms=99.0, speedup=8.04, peak_rss_mib=512.0, max_abs_heatmap=2e-6,
                abs_score=1e-6),
            row("imdl score only", "f32", 40.0, saved=0.2, saved_at_most=0.16),
            row("eager torch", "f32", 400.0, speedup=1.0),
        ],
        "absent": {"compiled torch bf16 at 640x512": "no compiler"}, "left_out": ["plain openvino f32"],
    }  # fmt: skip
    (tmp_path / "latency-toy-cpu.json").write_text(json.dumps(latency), encoding="utf-8")
    memory = {"kind": "memory", **common, "import_s": 0.1, "provenance": {"cpu": "Abacus", "commit": "abc"}}
    (tmp_path / "memory-toy-cpu.json").write_text(json.dumps(memory))
    return tmp_path


def test_speed_error_and_speedup_stand_in_one_row(folder):
    text = table.latency(folder)
    assert "| 640x512 | imdl openvino | f32 | 50 | 1.500 | 99 | 8.0 | 512 | 2e-06 | 1e-06 |" in text
    assert "| 640x512 | eager torch | f32 | 400 | 1.500 | – | 1.0 | – | – | – |" in text
    assert "`toy` 1 (preview), 2 threads" in text
    assert "Not run: compiled torch bf16 at 640x512 (no compiler)." in text
    assert "Left out of this measurement: plain openvino f32." in text


def test_in_short_the_sdk_stands_beside_the_runtime_alone(folder):
    text = table.times(folder)
    assert "| `toy` | 640x512 | f32 | 50 | 8.0 | – |" in text
    assert "eager torch" not in text


def test_what_stopping_saves_stands_beside_its_bound(folder):
    assert "| 640x512 | f32 | 20.0% | 16.0% |" in table.latency(folder)


def test_what_was_not_measured_is_a_dash(folder):
    assert "| `toy` | 0.100 | – | – | – | – | – | – | Abacus | abc |" in table.memory(folder)


def test_the_service_stands_beside_the_bare_analyzer(tmp_path):
    contenders = [
        {"contender": name, "connections": 2, "calls": 9, "per_s": per_s}
        | dict.fromkeys(("p50_ms", "p95_ms", "p99_ms"), ms)
        for name, ms, per_s in (("bare", 80.0, 12.5), ("service", 86.0, 12.0))
    ]
    cost = {"connections": 2, "p50_added_ms": 6.0, "throughput_lost": 0.04, "within_bounds": False}
    result = {"kind": "service", "model": "toy", "rows": contenders, "costs": [cost], "provenance": {"cpu": "Abacus"}}
    (tmp_path / "service-toy-cpu.json").write_text(json.dumps(result), encoding="utf-8")
    text = table.service(tmp_path)
    assert "| `toy` | Abacus | 2 | bare | 9 | 80.0 | 80.0 | 80.0 | 12.5 | – | – |" in text
    assert "| `toy` | Abacus | 2 | service | 9 | 86.0 | 86.0 | 86.0 | 12.0 | 6.0 | 4.0% |" in text


def test_hostile_files_are_counted_by_what_became_of_them(tmp_path):
    outcomes = {"review": 2, "pass": 1, "DecodeFailed": 4, "ServiceRefused": 1}
    result = {
        "kind": "hostile", "model": "toy", "uploads": 8, "outcomes": outcomes, "unexpected": [], "decoders_lost": 1,
        "service_restarts": 0, "memory_mib": {"peak": 512.4}, "slowest": {"upload": "7", "seconds": 2.04},
    }  # fmt: skip
    (tmp_path / "hostile-toy-cpu.json").write_text(json.dumps(result), encoding="utf-8")
    assert "| `toy` | 8 | 3 | 5 | 0 | 1 | 0 | 512 | 2.0 |" in table.hostile(tmp_path)


def test_only_what_stands_between_the_markers_is_replaced(folder):
    text = "before\n<!-- table: memory -->\nold\n<!-- /table -->\nafter\n"
    filled = table.filled(text, folder)
    assert filled.startswith("before\n<!-- table: memory -->\n| model |")
    assert filled.endswith("<!-- /table -->\nafter\n")
    assert "old" not in filled
    assert table.filled(filled, folder) == filled


def test_a_table_without_results_says_so(tmp_path):
    assert "Not measured yet." in table.filled("<!-- table: accuracy -->\n<!-- /table -->", tmp_path)
