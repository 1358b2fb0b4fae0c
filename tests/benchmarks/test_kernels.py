"""Every way to compute an operator that is timed on a CPU computes that operator, and the result is complete."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from benchmarks import kernels, sccm_attention, zpool2d
from kernels import library
from kernels.sccm_attention import reference as attention_reference
from kernels.testing import assert_parity
from kernels.zpool2d import reference

CASE = zpool2d.Case(channels=3, height=40, width=37, windows=(3, 7), threads=1)
ATTENTION = sccm_attention.Case(batch=2, channels=6, positions=40, threads=1)
FLOOR, BASE = list(zpool2d.CONTENDERS)[:2]
NEED_THE_LIBRARY = ("op python", "op torch", "op onnxruntime")
SLOW_TO_PREPARE = ("compiled torch",)


@pytest.mark.parametrize("name", [name for name in zpool2d.CONTENDERS if name not in (FLOOR, *SLOW_TO_PREPARE)])
def test_all_compute_the_same(name, native):
    z = zpool2d.CONTENDERS[name](CASE)()
    x, min_std = (array.astype(np.float64) for array in CASE.inputs().values())
    assert_parity(z, reference.zpool2d(x, min_std, CASE.windows), op="zpool2d", precision="fp32")


@pytest.mark.parametrize(
    "name", [name for name in sccm_attention.CONTENDERS if name not in ("products", *SLOW_TO_PREPARE)]
)
def test_all_compute_the_same_attention(name):
    truth = attention_reference.sccm_attention(*(array.astype(np.float64) for array in ATTENTION.inputs().values()))
    found = sccm_attention.CONTENDERS[name](ATTENTION)()
    for mine, expected in zip(found, truth, strict=True):
        assert_parity(mine, expected, op="sccm_attention", precision="fp32")
    assert kernels.error(found, ATTENTION) < 1e-5
    assert kernels.error((found[0], found[0]), ATTENTION) > 0.01


def test_the_floor_of_attention_is_its_multiplications():
    assert sccm_attention.products(ATTENTION)() is None
    assert ATTENTION.least_flop == 2 * 2 * (2 * 40 * 40 * 6 + 2 * 40 * 6 * 6)
    assert ATTENTION.least_bytes == 4 * 5 * 2 * 6 * 40


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_inputs_are_numbers_that_the_type_has(dtype):
    for case in (dataclasses.replace(CASE, dtype=dtype), dataclasses.replace(ATTENTION, dtype=dtype)):
        for array in case.inputs().values():
            stored = torch.from_numpy(array).to(getattr(torch, dtype)).float().numpy()
            np.testing.assert_array_equal(stored, array)
        whole = dataclasses.replace(case, dtype="float32")
        assert 2 * case.least_bytes == whole.least_bytes
        for name, array in whole.inputs().items():
            assert np.abs(array - case.inputs()[name]).max() <= 2**-8 * np.abs(array).max()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # torch's own use
def test_torch_compiles_it(native):
    test_all_compute_the_same("compiled torch", native)
    test_all_compute_the_same_attention("compiled torch")


def test_the_copy_moves_the_least_bytes():
    maps = 1 + len(CASE.windows) + 1
    assert CASE.least_bytes == 4 * 3 * 40 * 37 * maps
    assert zpool2d.copy(CASE)() is None


def test_windows_are_squared_and_the_opset_is_newer():
    model = zpool2d.newer(zpool2d.squared(zpool2d.inlined(CASE)))
    pools = [node for node in model.graph.node if node.op_type == "AveragePool"]
    shapes = [list(setting.ints) for pool in pools for setting in pool.attribute if setting.name == "kernel_shape"]
    assert shapes == [[3, 3], [7, 7]]
    assert model.opset_import[0].version == zpool2d.NEWER_OPSET


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernels")
    size = ["--channels", "2", "--height", "24", "--width", "31", "--windows", "3"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "FOLDER", folder)  # a fresh process has the checkout's, if any
        kernels.main(
            [
                *size,
                "--rounds",
                "1",
                "--calls",
                "1",
                "--threads",
                "1",
                "--results",
                str(folder),
                "--only",
                "copy",
                "square newer",
            ]
        )
    return json.loads((folder / "kernels-zpool2d-cpu.json").read_text(encoding="utf-8"))


def test_each_contender_has_a_row_with_speed_and_error(result):
    copy, square = result["rows"]
    assert copy["contender"] == "copy" and copy["max_abs"] is None and copy["times_floor"] == 1
    assert square["contender"] == "square newer onnxruntime" and 0 < square["max_abs"] < 1e-5
    assert square["times_op"] is None
    assert all(row["median_ms"] > 0 and row["gb_per_s"] > 0 and row["runs"] == 1 for row in result["rows"])


def test_work_protocol_and_provenance_are_recorded(result):
    assert result["case"]["windows"] == [3] and result["case"]["least_bytes"] == 4 * 2 * 24 * 31 * 3
    protocol = {"rounds": 1, "calls": 1, "repeats": 1, "warmup": 1, "once": ["square newer onnxruntime"]}
    assert result["protocol"] == protocol
    assert result["provenance"]["cpu"]
    assert result["absent"] == {}


def test_attention_has_rows_with_its_rate(monkeypatch, tmp_path):
    """In this process: that a turn has one of its own is shown above."""
    monkeypatch.setattr(kernels, "take", kernels.turn)
    size = ["--op", "sccm_attention", "--channels", "6", "--positions", "40", "--threads", "1"]
    kernels.main([*size, "--rounds", "1", "--calls", "1", "--results", str(tmp_path), "--only", "products", "lowering"])
    result = json.loads((tmp_path / "kernels-sccm_attention-cpu.json").read_text(encoding="utf-8"))
    floor, *others = result["rows"]
    assert floor["contender"] == "products" and floor["times_floor"] == 1 and floor["max_abs"] is None
    assert [row["contender"] for row in others] == ["lowering onnxruntime", "lowering openvino"]
    assert all(row["tflop_per_s"] > 0 and row["max_abs"] < 1e-5 for row in others)
    assert others[0]["times_op"] == 1


def test_without_the_library_the_operator_is_absent_with_its_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    library.native.cache_clear()
    for name in NEED_THE_LIBRARY:
        with pytest.raises(RuntimeError, match="not built: make native"):
            zpool2d.CONTENDERS[name](CASE)
    library.native.cache_clear()


def test_a_contender_that_fails_is_absent_and_the_others_go_on(monkeypatch):
    done = kernels.Turn(wall_ms=2.0, cpu_ms=2.0, peak_rss_mib=1.0, max_abs=None)
    monkeypatch.setattr(kernels, "take", lambda name, case, calls: "ValueError: no" if name == "b" else done)
    turns, absent = kernels.rounds(["a", "b"], CASE, count=3, calls=1)
    assert absent == {"b": "ValueError: no"}
    assert turns == {"a": [done] * 3}


def test_ratios_are_taken_within_a_round():
    def turns(*times):
        return [kernels.Turn(wall_ms=time, cpu_ms=time, peak_rss_mib=1.0, max_abs=1e-7) for time in times]

    taken = {
        FLOOR: turns(1, 2, 4),
        BASE: turns(2, 4, 8),
        "other": turns(20, 40, 240),
        "once": turns(80),
    }
    rows = {row["contender"]: row for row in kernels.rows(taken, CASE)}
    assert rows["other"]["times_op"] == 10 and rows["other"]["times_floor"] == 20
    assert rows["once"]["times_op"] == 20
    assert rows[BASE]["gb_per_s"] == CASE.least_bytes / 4 / 1e6
    assert dataclasses.asdict(taken["once"][0])["wall_ms"] == 80
