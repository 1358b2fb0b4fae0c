"""SCCM attention: the reference on its own properties, then everything else against the reference."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, inliner
from onnx.reference import ReferenceEvaluator

from kernels.sccm_attention import functional, lowering, reference
from kernels.testing import assert_parity
from sdk.backends import openvino

Inputs = tuple[np.ndarray, np.ndarray, np.ndarray]
SHAPES = [(1, 3, 4), (2, 5, 8), (1, 18, 64), (2, 144, 16), (1, 144, 256), (1, 288, 256)]
"""The last two are PSCC-Net's own, at the coarser scales of psccnet-lite."""
KINDS = {np.float32: TensorProto.FLOAT, np.float16: TensorProto.FLOAT16}


def model(kind: int) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, kind, ["B", "C", "N"]) for name in ("theta", "phi", "g")]
    results = [helper.make_tensor_value_info(name, kind, None) for name in ("spatial", "channel")]
    node = helper.make_node(lowering.NAME, ["theta", "phi", "g"], ["spatial", "channel"], domain=lowering.DOMAIN)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(lowering.DOMAIN, 1)]
    graph = helper.make_graph([node], "sccm", values, results)
    return helper.make_model(graph, functions=[lowering.function()], opset_imports=opsets, ir_version=10)


def feeds(inputs: Inputs) -> dict[str, np.ndarray]:
    return dict(zip(("theta", "phi", "g"), inputs, strict=True))


def run_torch(inputs: Inputs) -> list[np.ndarray]:
    return [result.numpy() for result in functional.sccm_attention(*map(torch.from_numpy, inputs))]


def run_onnx(inputs: Inputs) -> list[np.ndarray]:
    return ReferenceEvaluator(model(KINDS[inputs[0].dtype.type])).run(None, feeds(inputs))


def inlined(inputs: Inputs) -> bytes:
    return inliner.inline_local_functions(model(KINDS[inputs[0].dtype.type])).SerializeToString()


def run_onnxruntime(inputs: Inputs) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(inlined(inputs), providers=["CPUExecutionProvider"])
    return session.run(None, feeds(inputs))


def run_openvino(inputs: Inputs) -> list[np.ndarray]:
    core = openvino.runtime().Core()
    compiled = core.compile_model(core.read_model(inlined(inputs)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return list(compiled(feeds(inputs)).values())


IMPLEMENTATIONS = {"torch": run_torch, "onnx": run_onnx, "onnxruntime": run_onnxruntime, "openvino": run_openvino}


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_reference(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    inputs = tuple(rng.standard_normal(shape).astype(np.float32) for _ in range(3))
    expected = reference.sccm_attention(*(array.astype(np.float64) for array in inputs))
    for actual, truth in zip(IMPLEMENTATIONS[name](inputs), expected, strict=True):
        assert_parity(actual, truth, op="sccm_attention", precision="fp32")


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_halves_in_and_out_are_float32_between(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    inputs = tuple(rng.standard_normal(shape).astype(np.float16) for _ in range(3))
    expected = reference.sccm_attention(*(array.astype(np.float64) for array in inputs))
    for actual, truth in zip(IMPLEMENTATIONS[name](inputs), expected, strict=True):
        assert actual.dtype == np.float16
        assert_parity(actual, truth, op="sccm_attention", precision="fp16")


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_logits_beyond_the_range_of_halves_stay_finite(name: str, rng: np.random.Generator) -> None:
    theta, phi = (np.sign(rng.standard_normal((1, 32, 16))).astype(np.float16) * 128 for _ in range(2))
    assert (theta.astype(np.float32).transpose(0, 2, 1) @ phi.astype(np.float32)).max() > np.finfo(np.float16).max
    inputs = (theta, phi, rng.standard_normal((1, 32, 16)).astype(np.float16))
    expected = reference.sccm_attention(*(array.astype(np.float64) for array in inputs))
    for actual, truth in zip(IMPLEMENTATIONS[name](inputs), expected, strict=True):
        assert_parity(actual, truth, op="sccm_attention", precision="fp16")


def test_logits_of_hundreds_stay_finite_and_exact(rng: np.random.Generator) -> None:
    inputs = tuple((30 * rng.standard_normal((1, 4, 8))).astype(np.float32) for _ in range(3))
    expected = reference.sccm_attention(*(array.astype(np.float64) for array in inputs))
    for actual, truth in zip(run_torch(inputs), expected, strict=True):
        assert_parity(actual, truth, op="sccm_attention", precision="fp32")


def test_softmax_keeps_full_precision_under_autocast(rng: np.random.Generator) -> None:
    inputs = tuple(torch.from_numpy(rng.standard_normal((1, 18, 16)).astype(np.float32)) for _ in range(3))
    plain = functional.sccm_attention(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        cast = functional.sccm_attention(*inputs)
    for a, b in zip(plain, cast, strict=True):
        assert torch.equal(a, b)


def test_gradients(rng: np.random.Generator) -> None:
    inputs = [torch.from_numpy(rng.standard_normal((1, 3, 4))).requires_grad_() for _ in range(3)]

    def in_double(*tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same composition without the widening to float32, which would hide an error of the formula."""
        theta, phi, g = tensors
        spatial = torch.softmax(theta.transpose(1, 2) @ phi, -1) @ g.transpose(1, 2)
        return spatial, g.transpose(1, 2) @ torch.softmax(theta @ phi.transpose(1, 2), -1)

    wanted = torch.autograd.grad(sum(x.square().sum() for x in in_double(*inputs)), inputs)
    given_ = torch.autograd.grad(sum(x.double().square().sum() for x in functional.sccm_attention(*inputs)), inputs)
    for actual, expected in zip(given_, wanted, strict=True):
        assert_parity(actual.numpy(), expected.numpy(), op="sccm_attention", precision="fp32")


def test_channel_branch_is_not_attention_over_the_summed_axis(rng: np.random.Generator) -> None:
    theta, phi, g = (rng.standard_normal((1, 5, 8)) for _ in range(3))
    _, channel = reference.sccm_attention(theta, phi, g)
    weights = reference.softmax(theta @ phi.transpose(0, 2, 1))
    attention = (weights @ g).transpose(0, 2, 1)
    assert np.abs(channel - attention).max() > 0.1
    brute = np.zeros_like(channel)
    for n in range(8):
        for j in range(5):
            brute[0, n, j] = sum(g[0, i, n] * weights[0, i, j] for i in range(5))
    np.testing.assert_allclose(channel, brute, atol=1e-12)


features = arrays(np.float64, (1, 3, 4), elements=st.floats(-4, 4, width=32))


@given(theta=features, phi=features, g=features)
def test_spatial_branch_averages_the_values(theta: np.ndarray, phi: np.ndarray, g: np.ndarray) -> None:
    spatial, _ = reference.sccm_attention(theta, phi, g)
    low, high = g.min(axis=2)[:, None, :], g.max(axis=2)[:, None, :]
    assert (spatial >= low - 1e-9).all() and (spatial <= high + 1e-9).all()


@given(theta=features, phi=features, g=features, seed=st.integers(0, 100))
def test_spatial_branch_ignores_the_order_of_keys(theta: np.ndarray, phi: np.ndarray, g: np.ndarray, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(4)
    expected, _ = reference.sccm_attention(theta, phi, g)
    actual, _ = reference.sccm_attention(theta, phi[:, :, order], g[:, :, order])
    np.testing.assert_allclose(actual, expected, atol=1e-9)
