"""Exact area averaging: the reference against brute force, then everything else against the reference."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, inliner

from kernels.area_shrink import functional, lowering, reference
from kernels.testing import assert_parity
from sdk.backends import openvino

CASES = [
    ((1, 1, 3), 0), ((7, 5, 3), 3), ((31, 64, 3), 32), ((40, 33, 3), 39), ((12, 16, 3), 64), ((9, 90, 3), 4),
    ((71, 45, 3), 25),
]  # fmt: skip


def model() -> onnx.ModelProto:
    frame = helper.make_tensor_value_info("frame", TensorProto.UINT8, ["N", "H", "W", 3])
    working_size = helper.make_tensor_value_info("working_size", TensorProto.INT64, [])
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", "h", "w", 3])
    node = helper.make_node(lowering.NAME, ["frame", "working_size"], ["pixels"], domain=lowering.DOMAIN)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(lowering.DOMAIN, 1)]
    graph = helper.make_graph([node], "shrink", [frame, working_size], [pixels])
    model = helper.make_model(graph, functions=[lowering.function()], opset_imports=opsets, ir_version=10)
    return inliner.inline_local_functions(model)


def multiplications(frame: np.ndarray, working_size: int) -> tuple[int, ...]:
    """How many each of the two matrix products of the ONNX function takes."""
    traced = model()
    names = [node.input[side] for node in traced.graph.node if node.op_type == "MatMul" for side in (0, 1)]
    traced.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(traced.SerializeToString(), providers=["CPUExecutionProvider"])
    down, rows, across, lines = session.run(names, {"frame": frame, "working_size": np.array(working_size, np.int64)})
    return down.size * rows.shape[-1], across.size * lines.shape[-1]


def run_torch(frame: np.ndarray, working_size: int) -> np.ndarray:
    return functional.area_shrink(torch.from_numpy(frame), working_size).numpy()


def run_onnxruntime(frame: np.ndarray, working_size: int) -> np.ndarray:
    session = onnxruntime.InferenceSession(model().SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"frame": frame, "working_size": np.array(working_size, np.int64)})[0]


def run_openvino(frame: np.ndarray, working_size: int) -> np.ndarray:
    core = openvino.runtime().Core()
    compiled = core.compile_model(
        core.read_model(model().SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return compiled({"frame": frame, "working_size": np.array(working_size, np.int64)})[0]


IMPLEMENTATIONS = {"torch": run_torch, "onnxruntime": run_onnxruntime, "openvino": run_openvino}


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize(("shape", "working_size"), CASES, ids=str)
def test_matches_reference(name: str, shape: tuple[int, ...], working_size: int, rng: np.random.Generator) -> None:
    frame = rng.integers(0, 256, (2, *shape), dtype=np.uint8)
    expected = reference.area_shrink(frame, working_size)
    assert_parity(IMPLEMENTATIONS[name](frame, working_size), expected, op="area_shrink", precision="fp32")


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_coordinates_are_exact_where_their_products_are_beyond_float32(name: str, rng: np.random.Generator) -> None:
    size, target = 7418, 7417
    line = rng.integers(0, 256, (1, 1, size, 3), dtype=np.uint8)
    sums = np.concatenate([np.zeros((1, 3)), line[0, 0].cumsum(0, dtype=np.int64)])
    whole, parts = np.divmod(np.arange(target + 1) * size, target)
    until = sums[whole] + parts[:, None] / target * np.diff(sums, axis=0, append=sums[-1:])[whole]
    expected = np.diff(until, axis=0) * target / size
    assert_parity(IMPLEMENTATIONS[name](line, target)[0, 0], expected, op="area_shrink", precision="fp32")


def test_the_work_grows_with_the_samples_of_the_frame_and_not_with_its_sides(rng: np.random.Generator) -> None:
    height, width = 270, 480
    down, across = multiplications(rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8), 128)
    assert down < 1.2 * lowering.BLOCK * height * width * 3  # all of both matrices: 72 and 128 times the samples
    assert across < 1.2 * lowering.BLOCK * 72 * width * 3


sides = st.integers(1, 40)


@given(size=sides, target=sides)
def test_weights_equal_brute_force(size: int, target: int) -> None:
    if target > size:
        size, target = target, size
    weights = np.zeros((target, size))
    for row in range(target):
        fine = np.arange(row * size, (row + 1) * size) // target  # the input sample under each of size equal slivers
        np.add.at(weights[row], fine, 1 / size)
    np.testing.assert_allclose(reference.area_weights(size, target), weights, atol=1e-12)


@given(height=sides, width=sides, working_size=sides)
def test_the_mean_is_kept_and_the_long_side_is_the_working_size(height: int, width: int, working_size: int) -> None:
    frame = np.random.default_rng(height * 41 + width).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    small = reference.area_shrink(frame, working_size)
    assert max(small.shape[1:3]) == min(working_size, max(height, width))
    np.testing.assert_allclose(small.mean((1, 2)), frame.mean((1, 2)), atol=1e-9)


def test_zero_and_large_working_sizes_leave_the_frame_as_it_is(rng: np.random.Generator) -> None:
    frame = rng.integers(0, 256, (1, 6, 9, 3), dtype=np.uint8)
    for working_size in (0, 9, 100):
        np.testing.assert_array_equal(reference.area_shrink(frame, working_size), frame)


def test_whole_numbers_of_pixels_are_box_means(rng: np.random.Generator) -> None:
    frame = rng.integers(0, 256, (1, 8, 12, 3), dtype=np.uint8)
    boxes = frame.reshape(1, 4, 2, 6, 2, 3).mean((2, 4))
    np.testing.assert_allclose(reference.area_shrink(frame, 6), boxes, atol=1e-12)
