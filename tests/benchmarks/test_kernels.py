"""Every way to compute an operator computes that operator, on a GPU's ways too, and the result is complete."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import kernels, kernels_once, operators, sccm_attention, table, zpool2d
from benchmarks.kernels import Patience, Turn
from kernels import cuda_library, library
from kernels.sccm_attention import reference as attention_reference
from kernels.testing import TOLERANCES, assert_parity
from kernels.zpool2d import reference
from tests.kernels import cuda_on_cpu

POOLING = zpool2d.Case(channels=3, height=40, width=37, windows=(3, 7), threads=1)
ATTENTION = sccm_attention.Case(batch=2, channels=6, positions=40, threads=1)
CASES = (POOLING, ATTENTION)
FLOORS = {"copy", "products"}
INTERPRETED = {"triton torch"}  # takes no float32, and in tests/kernels Triton's interpreter runs it
FLOOR, BASE = list(kernels.ways(POOLING))[:2]
PATIENT = Patience(calls=1, seconds=1e9)


def contenders(device: str, *, slow: bool = False) -> list[object]:
    """Pairs of case and name; those that are slow to prepare, or all others."""
    return [
        pytest.param(case, name, id=f"{case.op} {name}")
        for case in CASES
        for name in kernels.OPERATORS[case.op].CONTENDERS[device]
        if name not in FLOORS | INTERPRETED and slow == name.startswith("compiled")
    ]


def agrees(case, answer) -> None:
    """Fail where ``answer`` is not what the reference says, or where the benchmark would not see that."""
    inputs = [array.astype(np.float64) for array in case.inputs().values()]
    if case is POOLING:
        truth = [reference.zpool2d(*inputs, case.windows)]
    else:
        truth = attention_reference.sccm_attention(*inputs)
    found = kernels.arrays(answer)
    for mine, expected in zip(found, truth, strict=True):
        assert_parity(mine, expected, op=case.op, precision="fp32")
    assert case.error(found) < TOLERANCES[case.op, "fp32"] * max(1, *(np.abs(each).max() for each in truth))
    assert case.error([each + 1 for each in found]) > 0.9


@pytest.mark.parametrize(("case", "name"), contenders("cpu"))
def test_all_compute_the_same(case, name, native):
    agrees(case, kernels.ways(case)[name](case)())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # torch's own use
@pytest.mark.parametrize(("case", "name"), contenders("cpu", slow=True))
def test_torch_compiles_it(case, name):
    agrees(case, kernels.ways(case)[name](case)())


@pytest.fixture(scope="module")
def built(pytestconfig: pytest.Config) -> ctypes.CDLL:
    """CUDA kernels and shells, built for the CPU."""
    if not shutil.which(cuda_on_cpu.COMPILE[0]):
        pytest.skip("CUDA sources are not built for the CPU: no g++: apt-get install g++")
    source = cuda_on_cpu.with_shells(pytestconfig.cache.mkdir("onnxruntime-cuda"))
    found = cuda_on_cpu.build(source, pytestconfig.cache.mkdir("cuda-on-cpu"))
    cuda_on_cpu.choose(found)
    return found


@pytest.fixture
def cuda(built, monkeypatch):
    """The same where the CUDA library would be."""
    monkeypatch.setattr(cuda_library, "cuda", lambda: built)
    monkeypatch.setattr(cuda_library, "path", lambda: built._name)


def of_gpu(case, name):
    """A GPU's way, on features in main memory."""
    return kernels.OPERATORS[case.op].CONTENDERS["cuda"][name](case)


@pytest.mark.parametrize(("case", "name"), contenders("cuda"))
def test_a_gpus_ways_compute_the_same(cuda, case, name):
    agrees(case, of_gpu(case, name)())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_in_fewer_bits_too(cuda, dtype):
    tolerance = {"float16": 4e-3, "bfloat16": 3e-2}[dtype]
    for case in (dataclasses.replace(each, dtype=dtype) for each in CASES):
        for name in ("op torch", "eager torch"):
            assert case.error(kernels.arrays(of_gpu(case, name)())) < tolerance
        with pytest.raises(RuntimeError, match="the graph is in float32"):
            of_gpu(case, "op onnxruntime")


def test_what_a_gpu_lacks_is_said(monkeypatch):
    monkeypatch.setattr(cuda_library, "cuda", lambda: None)
    for case in CASES:
        for name in ("op torch", "op onnxruntime"):
            with pytest.raises(RuntimeError, match="not built: python -m kernels cuda"):
                of_gpu(case, name)
    monkeypatch.setattr(sccm_attention, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="no Triton: pip install triton"):
        of_gpu(ATTENTION, "triton torch")
    monkeypatch.setattr(cuda_library, "cuda", lambda: ctypes.CDLL(None))
    with pytest.raises(RuntimeError, match="has no CUDA"):
        of_gpu(dataclasses.replace(POOLING, device="cuda"), "separable onnxruntime")


def test_once_takes_every_kernel_and_judges_the_answers(cuda, monkeypatch, capsys):
    wanted = list(kernels_once.works("cpu", is_full=False))
    assert {(work.op, work.dtype) for work in wanted} == {
        (op, dtype) for op in kernels.OPERATORS for dtype in kernels_once.PRECISIONS
    }
    monkeypatch.setattr(kernels_once, "works", lambda device, is_full: iter(CASES))
    assert kernels_once.main(["--device", "cpu"]) == 0
    assert kernels_once.main(["--device", "cpu", "--full"]) == 0
    monkeypatch.setattr(kernels_once, "ours", lambda work: [lambda: 2 * of_gpu(POOLING, "op torch")()])
    monkeypatch.setattr(kernels_once, "works", lambda device, is_full: iter([POOLING]))
    assert kernels_once.main(["--device", "cpu"]) == 1
    assert "windows=(3, 7)" in capsys.readouterr().err


def test_of_a_gpu_a_graph_is_timed_that_was_captured_when_all_was_compiled(monkeypatch):
    """On a simulated one."""
    done: list[str] = []
    graph = SimpleNamespace(replay=lambda: done.append("replay"))
    for name, stands_for in {
        "Stream": lambda: None, "stream": nullcontext, "CUDAGraph": lambda: graph, "graph": nullcontext,
        "synchronize": lambda: done.append("wait"),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stands_for)
    call = operators.in_torch(POOLING, lambda x, floor: done.append("run") or x)
    replay = call.captured()
    assert done == ["run", "run", "run", "wait", "run"]
    assert torch.equal(replay(), call.inputs[0])
    assert done[5:] == ["replay"]


@pytest.mark.parametrize("device", kernels.REPEATS)
def test_floors_compute_nothing_and_do_the_least_there_is(device):
    for case in CASES:
        (name,) = FLOORS & {*kernels.OPERATORS[case.op].CONTENDERS[device]}
        assert kernels.OPERATORS[case.op].CONTENDERS[device][name](case)() is None
    assert POOLING.least_bytes == 4 * 3 * 40 * 37 * (1 + len(POOLING.windows) + 1)
    assert ATTENTION.least_flop == 2 * 2 * (2 * 40 * 40 * 6 + 2 * 40 * 6 * 6)
    assert ATTENTION.least_bytes == 4 * 5 * 2 * 6 * 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.op)
def test_a_case_is_the_one_of_its_size(case):
    again = type(case).of(case.size, threads=1)
    assert again.inputs().keys() == case.inputs().keys()
    assert again.size == case.size
    for size in case.sizes:
        assert type(case).of(size, threads=1).size == size


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_inputs_are_numbers_that_the_type_has(dtype):
    for case in (dataclasses.replace(each, dtype=dtype) for each in CASES):
        for array in case.inputs().values():
            stored = torch.from_numpy(array).to(getattr(torch, dtype)).float().numpy()
            np.testing.assert_array_equal(stored, array)
        whole = dataclasses.replace(case, dtype="float32")
        assert 2 * case.least_bytes == whole.least_bytes
        for name, array in whole.inputs().items():
            assert np.abs(array - case.inputs()[name]).max() <= 2**-8 * np.abs(array).max()


def test_windows_are_squared_and_the_opset_is_newer():
    model = zpool2d.newer(zpool2d.squared(zpool2d.portable(POOLING)))
    pools = [node for node in model.graph.node if node.op_type == "AveragePool"]
    shapes = [list(setting.ints) for pool in pools for setting in pool.attribute if setting.name == "kernel_shape"]
    assert shapes == [[3, 3], [7, 7]]
    assert model.opset_import[0].version == zpool2d.NEWER_OPSET


def test_a_turn_calls_as_often_as_patience_allows(monkeypatch):
    called = []
    monkeypatch.setitem(zpool2d.CONTENDERS["cpu"], "counted", lambda case: lambda: called.append(1))
    patient = kernels.turn("counted", POOLING, Patience(calls=3, seconds=1e9))
    assert (patient.calls, len(called)) == (3, 1 + 3)
    called.clear()
    impatient = kernels.turn("counted", POOLING, Patience(calls=3, seconds=0))
    assert (impatient.calls, len(called)) == (0, 1)  # the one that is otherwise thrown away
    called.clear()
    ticks = iter(range(100))
    monkeypatch.setattr(kernels.time, "perf_counter", lambda: 10 * next(ticks))
    short = kernels.turn("counted", POOLING, Patience(calls=3, seconds=25))
    assert (short.calls, short.wall_ms, len(called)) == (2, 10_000, 1 + 2)


def measured(folder, *arguments):
    """The result of a run at small sizes."""
    kernels.main(["--rounds", "1", "--calls", "1", "--threads", "1", "--results", str(folder), *arguments])
    (file,) = folder.glob("kernels-*.json")
    return json.loads(file.read_text(encoding="utf-8"))


def test_each_contender_has_a_row_with_speed_and_error(tmp_path):
    result = measured(tmp_path, "--size", "2x24x31", "--only", "copy", "separable newer")
    (found,) = result["cases"]
    copy, pools = found["rows"]
    assert copy["contender"] == "copy" and copy["max_abs"] is None and copy["times_floor"] == 1
    assert pools["contender"] == "separable newer onnxruntime" and 0 < pools["max_abs"] < 1e-5
    assert pools["times_op"] is None
    assert all(
        row["median_ms"] > 0 and row["gb_per_s"] > 0 and row["runs"] == row["calls"] == 1 for row in (copy, pools)
    )
    assert found["case"]["size"] == "2x24x31" and found["case"]["least_bytes"] == 4 * 2 * 24 * 31 * 5
    assert found["absent"] == {}
    assert result["protocol"] == {
        "threads": 1, "rounds": 1, "calls": 1, "patience": 30.0, "repeats": 1, "warmup": 1
    }  # fmt: skip
    assert result["provenance"]["cpu"]


def test_every_size_has_rows_with_its_rate(monkeypatch, tmp_path):
    """In this process: that a turn has one of its own is shown above."""
    monkeypatch.setattr(kernels, "take", kernels.turn)
    sizes = ["--op", "sccm_attention", "--size", "6x40", "5x8"]
    result = measured(tmp_path, *sizes, "--only", "products", "lowering onnx")
    assert [found["case"]["size"] for found in result["cases"]] == ["6x40", "5x8"]
    for found in result["cases"]:
        floor, body = found["rows"]
        assert floor["contender"] == result["floor"] == "products" and floor["max_abs"] is None
        assert body["contender"] == result["base"] == "lowering onnxruntime" and body["times_op"] == 1
        assert body["tflop_per_s"] > 0 and body["max_abs"] < 1e-5


def test_without_the_library_the_operator_is_absent_with_its_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    library.native.cache_clear()
    for name in ("op python", "op torch", "op onnxruntime"):
        with pytest.raises(RuntimeError, match="not built: make native"):
            kernels.ways(POOLING)[name](POOLING)
    library.native.cache_clear()


def turns(*times_ms: float, calls: int = 1) -> list[Turn]:
    return [Turn(wall_ms=each, cpu_ms=each, calls=calls, peak_rss_mib=1.0, max_abs=1e-7) for each in times_ms]


def test_a_contender_that_fails_is_absent_and_the_others_go_on(monkeypatch):
    (done,), (slow,) = turns(2.0), turns(9.0, calls=0)
    taken = {"a": done, "b": "ValueError: no", "c": slow}
    monkeypatch.setattr(kernels, "take", lambda name, case, patience: taken[name])
    found, absent = kernels.rounds(["a", "b", "c"], POOLING, PATIENT, count=3)
    assert absent == {"b": "ValueError: no"}
    assert found == {"a": [done] * 3, "c": [slow]}  # who outlasts the patience has one turn


def test_ratios_are_taken_within_a_round():
    taken = {
        FLOOR: turns(1, 2, 4), BASE: turns(2, 4, 8), "other": turns(20, 40, 240), "once": turns(80, calls=0),
    }  # fmt: skip
    rows = {row["contender"]: row for row in kernels.rows(taken, POOLING)}
    assert rows["other"]["times_op"] == 10 and rows["other"]["times_floor"] == 20
    assert rows["once"]["times_op"] == 20
    assert rows[BASE]["gb_per_s"] == POOLING.least_bytes / 4 / 1e6


def shown(folder, op: str, device: str, rows: list[dict[str, object]]) -> str:
    """The tables of one result at one size."""
    machine = {"cpu": "a CPU", "cores": 2, "packages": {}, "commit": "abc", "date": "2026-01-01"}
    figures = {"iqr_ms": 1.0, "calls": 3, "cpu_ms": 1.0, "gb_per_s": 2.0, "tflop_per_s": None, "peak_rss_mib": 5.0}
    result = {
        "kind": "kernels", "op": op, "floor": "copy", "base": "op", "provenance": machine,
        "protocol": {"threads": 2, "rounds": 3},
        "cases": [
            {
                "case": {"size": "1x2", "dtype": "float32", "device": device}, "absent": {"compiled torch": "no g++"},
                "rows": [figures | {"max_abs": 1e-7} | row for row in rows],
            }
        ],
    }  # fmt: skip
    (folder / "kernels.json").write_text(json.dumps(result), encoding="utf-8")
    return table.kernels(folder)


def timed(name: str, median_ms: float, times_op: float, times_floor: float) -> dict[str, object]:
    return {"contender": name, "median_ms": median_ms, "times_op": times_op, "times_floor": times_floor}


def test_the_table_tells_what_was_asked_and_what_a_copy_would_reach(tmp_path):
    rows = [
        timed("op onnxruntime", 10.0, 1.0, 1.5),
        timed("separable onnxruntime", 300.0, 30.0, 45.0),
        timed("square newer onnxruntime", 4990.0, 499.0, 748.0) | {"calls": 0},
    ]
    text = shown(tmp_path, "zpool2d", "cpu", rows)
    assert "| 1x2 | square newer onnxruntime (one call) | 4,990 |" in text
    assert "× op |" in text and "× copy |" in text
    assert "Not run at 1x2: compiled torch (no g++)." in text
    assert "| 1x2: times as fast as ONNX Runtime's separable pools | 30 | 30 | 45 | reached |" in text
    assert "| 1x2: times as fast as ONNX Runtime's square pools, newer opset | 500 | 499 | 748 | missed |" in text
    assert "| 1x2: times as fast as ONNX Runtime's square pools | 500 | – | – | not measured |" in text


@pytest.mark.parametrize(("ratio", "verdict"), [(1.3, "reached"), (1.31, "missed")])
def test_on_a_gpu_zpool2d_is_held_to_a_copy(tmp_path, ratio, verdict):
    text = shown(tmp_path, "zpool2d", "cuda", [timed("op torch", 1.0, 1.0, ratio)])
    assert f"| 1x2: times as long as a copy, at most | 1.3 | {ratio} | – | {verdict} |" in text


def test_on_a_gpu_attention_is_held_to_the_best_of_torch(tmp_path):
    rows = [
        timed("op torch", 1.0, 1.0, 2.0),
        timed("whole torch", 3.0, 3.0, 6.0),
        timed("attention torch", 1.4, 1.4, 3.0),
    ]
    text = shown(tmp_path, "sccm_attention", "cuda", rows)
    what = "1x2: times as fast as the better of products with softmax and torch's own attention"
    assert f"| {what} | 1.5 | 1.4 | – | missed |" in text
    assert "asked" not in shown(tmp_path, "sccm_attention", "cpu", rows)
