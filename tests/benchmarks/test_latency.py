"""The latency script writes complete results, and its contenders do the same work."""

from __future__ import annotations

import json

import numpy as np
import pytest

import sdk
from benchmarks import contenders, latency
from tests.sdk import toy


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latency")
    model = toy.build(folder / "toy")
    options = ["--rounds", "2", "--warmup", "0", "--repeats", "1", "--threads", "1", "--only", "imdl", "eager"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "SIZES", ((40, 64), (64, 64)))
        latency.main(["--artifact", str(model), "--results", str(folder), *options])
    return json.loads((folder / "latency-toy-cpu.json").read_text(encoding="utf-8"))


def test_each_contender_has_a_row_for_each_size(result):
    found = {(row["contender"], row["precision"], row["height"], row["width"]) for row in result["rows"]}
    assert {row[0] for row in found} == {"imdl onnxruntime", "imdl openvino", "imdl score only"}
    assert {row[2:] for row in found} == {(40, 64), (64, 64)}
    assert all(row["median_ms"] > 0 and row["runs"] == 2 for row in result["rows"])


def test_who_cannot_run_is_listed_with_the_reason(result):
    assert "no model named 'toy'" in result["absent"]["eager torch f32"]


def test_fresh_processes_and_provenance_are_recorded(result):
    fresh = result["fresh_processes"]
    assert 0 < fresh["import_s"] < fresh["first_analysis_s"]
    assert fresh["analyze_1080p_native_peak_rss_mib"] > 50
    assert result["provenance"]["cpu"]


def test_no_machine_path_is_committed():
    committed = latency.rounded({"absent": ["no file /home/me/toy/model.onnx"], "ms": 1.23456}, hide="/home/me/toy")
    assert committed == {"absent": ["no file toy/model.onnx"], "ms": 1.235}


@pytest.mark.parametrize("name", ["plain_openvino", "ours"])
def test_contenders_answer_alike_in_f32(name):
    with sdk.load() as analyzer:
        path = analyzer.artifact.path
    frame = latency.photograph(96, 128)
    more = {"plain_openvino": {"precision": "f32"}, "ours": {"precision": "f32", "backend": "onnxruntime"}}[name]
    found = getattr(contenders, name)(path, threads=1, **more)(frame)
    np.testing.assert_allclose(found, contenders.plain_onnxruntime(path, threads=1)(frame), atol=1e-4)


def test_torch_contenders_give_a_heatmap_of_the_frame():
    heatmap = contenders.eager("psccnet", {"stem_stride": 2, "grid": 128}, threads=1)(latency.photograph(64, 96))
    assert heatmap.shape == (64, 96)
    assert ((heatmap >= 0) & (heatmap <= 1)).all()
