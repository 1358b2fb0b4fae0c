"""ONNX Runtime takes the native library for graphs that have nodes of ours, and their bodies where there is none."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from kernels import library
from kernels.testing import assert_parity
from kernels.zpool2d import lowering, reference
from sdk.backends import onnxruntime


@pytest.fixture
def opened(tmp_path):
    """Opens a graph of one ZPool2D node with its body."""
    node = helper.make_node(lowering.NAME, ["x", "min_std"], ["z"], domain=lowering.DOMAIN, windows=[3, 5], magnitude=1)
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["N", "C", "H", "W"]), ("min_std", ["C"]), ("z", ["N", 3, "C", "H", "W"]))
    ]
    model = helper.make_model(
        helper.make_graph([node], "one", values[:2], values[2:]),
        functions=[lowering.function(windows=[3, 5], magnitude=1)],
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(lowering.DOMAIN, 1)],
        ir_version=10,
    )
    onnx.save(model, tmp_path / "one.onnx")
    artifact = SimpleNamespace(file=lambda graph: tmp_path / f"{graph}.onnx", name="one")
    return lambda: onnxruntime.open(artifact, "one", device="cpu", precision="f32", threads=1)


def test_the_answer_is_the_same_with_and_without(opened, request, monkeypatch, rng):
    x, floor = rng.standard_normal((2, 3, 9, 8)).astype(np.float32), np.full(3, 0.1, np.float32)
    truth = reference.zpool2d(x.astype(np.float64), floor.astype(np.float64), (3, 5))
    asked = []
    monkeypatch.setattr(library, "path", lambda: asked.append("none"))
    assert_parity(opened().run({"x": x, "min_std": floor})["z"], truth, op="zpool2d", precision="fp32")
    monkeypatch.undo()
    assert asked == ["none"]
    file = request.getfixturevalue("native").__file__
    assert str(library.path()) == file
    found = opened().run({"x": x, "min_std": floor})["z"]
    assert_parity(found, truth, op="zpool2d", precision="fp32")


def test_a_graph_without_nodes_of_ours_needs_no_library(tmp_path, native):
    (tmp_path / "plain.onnx").write_bytes(b"standard operators only")
    (tmp_path / "ours.onnx").write_bytes(b"domain: forensics")
    assert onnxruntime._native_operators(tmp_path / "plain.onnx") is None
    assert str(onnxruntime._native_operators(tmp_path / "ours.onnx")) == native.__file__


def test_on_cuda_it_is_the_library_of_cuda_kernels(tmp_path, monkeypatch):
    (tmp_path / "ours.onnx").write_bytes(b"domain: forensics")
    monkeypatch.setattr(onnxruntime.cuda_library, "path", lambda: tmp_path / "_cuda.so")
    assert onnxruntime._native_operators(tmp_path / "ours.onnx", "cuda") == tmp_path / "_cuda.so"
