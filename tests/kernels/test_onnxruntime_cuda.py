"""ONNX Runtime's shells of the CUDA kernels, built for the CPU provider: the same code in a session without a GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from kernels import cuda_library
from kernels.sccm_attention import reference as sccm_attention
from kernels.testing import assert_parity
from kernels.zpool2d import reference as zpool2d
from tests.kernels import cuda_on_cpu

TYPES = {
    "fp32": (TensorProto.FLOAT, np.float32),
    "fp16": (TensorProto.FLOAT16, np.float16),
    "bf16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
}


@pytest.fixture(scope="module")
def library(on_cpu: Callable[[Path], ctypes.CDLL], pytestconfig: pytest.Config) -> str:
    """The file."""
    built = on_cpu(cuda_on_cpu.with_shells(pytestconfig.cache.mkdir("onnxruntime-cuda")))
    cuda_on_cpu.choose(built)
    return built._name


def opened(library: str, node: onnx.NodeProto, types: dict[str, int]) -> onnxruntime.InferenceSession:
    """A session of one node."""
    inputs = [helper.make_tensor_value_info(name, types[name], None) for name in node.input]
    outputs = [helper.make_tensor_value_info(name, types[node.input[0]], None) for name in node.output]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("forensics", 1)]
    graph = helper.make_graph([node], "one", inputs, outputs)
    content = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(library)
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def bound(session: onnxruntime.InferenceSession, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs in float64; bfloat16 has no type in NumPy and travels by address."""
    binding = session.io_binding()
    for name, array in feeds.items():
        kind = next(proto for proto, dtype in TYPES.values() if array.dtype == dtype)
        binding.bind_input(name, "cpu", 0, kind, array.shape, array.ctypes.data)
    for output in session.get_outputs():
        binding.bind_output(output.name)
    session.run_with_iobinding(binding)
    found = []
    for value in binding.get_outputs():
        dtype = ml_dtypes.bfloat16 if "bfloat16" in value.data_type() else value.numpy().dtype
        count = int(np.prod(value.shape())) * np.dtype(dtype).itemsize
        raw = ctypes.string_at(value.data_ptr(), count)
        found.append(np.frombuffer(raw, dtype).reshape(value.shape()).astype(np.float64))
    return found


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("floor_precision", ["own", "fp32"])
def test_zpool2d_is_the_reference_with_a_floor_of_either_type(library, precision, floor_precision, rng):
    kind, dtype = TYPES[precision]
    floor_kind, floor_dtype = TYPES["fp32" if floor_precision == "fp32" else precision]
    node = helper.make_node("ZPool2D", ["x", "floor"], ["z"], domain="forensics", windows=[3, 7], magnitude=0)
    session = opened(library, node, {"x": kind, "floor": floor_kind})
    x, floor = (rng.standard_normal((2, 3, 11, 13)) + 2).astype(dtype), np.array([1e-3, 0.5, 2], floor_dtype)
    (z,) = bound(session, {"x": x, "floor": floor})
    expected = zpool2d.zpool2d(x.astype(np.float64), floor.astype(np.float64), (3, 7), magnitude=False)
    assert_parity(z, expected, op="zpool2d", precision=precision)


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("shape", [(1, 16, 40), (2, 9, 33)], ids=str)
def test_sccm_attention_is_the_reference(library, precision, shape, rng):
    kind, dtype = TYPES[precision]
    names = ["theta", "phi", "g"]
    node = helper.make_node("SCCMAttention", names, ["spatial", "channel"], domain="forensics")
    session = opened(library, node, dict.fromkeys(names, kind))
    arrays = [(rng.standard_normal(shape) / shape[1] ** 0.5).astype(dtype) for _ in names]
    found = bound(session, dict(zip(names, arrays, strict=True)))
    expected = sccm_attention.sccm_attention(*(array.astype(np.float64) for array in arrays))
    for mine, theirs in zip(found, expected, strict=True):
        assert_parity(mine, theirs, op="sccm_attention", precision=precision)


@pytest.mark.parametrize(
    ("windows", "words"), [([4], "a window is even or below 1 px"), ([3] * 9, "there are not 0 to 8 windows")]
)
def test_what_no_kernel_does_is_refused_when_the_model_is_opened(library, windows, words):
    node = helper.make_node("ZPool2D", ["x", "floor"], ["z"], domain="forensics", windows=windows, magnitude=1)
    with pytest.raises(Exception, match=f"ZPool2D was not launched: {words}"):
        opened(library, node, {"x": TensorProto.FLOAT, "floor": TensorProto.FLOAT})


def test_arrays_that_do_not_fit_together_are_refused_when_they_come(library):
    node = helper.make_node("ZPool2D", ["x", "floor"], ["z"], domain="forensics", windows=[3], magnitude=1)
    session = opened(library, node, {"x": TensorProto.FLOAT, "floor": TensorProto.FLOAT})
    with pytest.raises(Exception, match=r"min_std not \[c\]"):
        session.run(None, {"x": np.ones((1, 3, 4, 4), np.float32), "floor": np.ones(2, np.float32)})
    wide = np.ones((1, 1, 2, 400), np.float32)
    node = helper.make_node("ZPool2D", ["x", "floor"], ["z"], domain="forensics", windows=[301], magnitude=1)
    session = opened(library, node, {"x": TensorProto.FLOAT, "floor": TensorProto.FLOAT})
    with pytest.raises(Exception, match="a window is wider than 225 px"):
        session.run(None, {"x": wide, "floor": np.ones(1, np.float32)})


def test_an_empty_batch_is_an_empty_answer(library):
    node = helper.make_node("SCCMAttention", ["theta", "phi", "g"], ["s", "c"], domain="forensics")
    session = opened(library, node, dict.fromkeys(["theta", "phi", "g"], TensorProto.FLOAT))
    nothing = np.zeros((0, 4, 5), np.float32)
    found = session.run(None, dict.fromkeys(["theta", "phi", "g"], nothing))
    assert [array.shape for array in found] == [(0, 5, 4)] * 2


def test_what_the_library_holds_is_told(library, monkeypatch):
    monkeypatch.setattr(cuda_library, "cuda", lambda: ctypes.CDLL(library))
    assert cuda_library.offered() == {"sccm_attention": "native in CUDA", "zpool2d": "native in CUDA"}
    monkeypatch.setattr(cuda_library, "cuda", lambda: None)
    assert cuda_library.offered() == {}
    assert cuda_library.path() is None


@pytest.mark.slow
def test_compiled_for_a_gpu_they_are_the_cuda_providers(tmp_path):
    """What nvcc makes of the shells loads where there is no GPU, and a session that needs one says so."""
    if cuda_library.missing():
        pytest.skip(f"CUDA sources are not compiled: {'; '.join(cuda_library.missing())}")
    built = str(cuda_library.build(tmp_path / "cuda.so", (75,)))
    node = helper.make_node("ZPool2D", ["x", "floor"], ["z"], domain="forensics", windows=[3], magnitude=1)
    with pytest.raises(Exception, match=r"ZPool2D\(1\)|Could not find an implementation for ZPool2D"):
        opened(built, node, {"x": TensorProto.FLOAT, "floor": TensorProto.FLOAT})
