"""Z-score pooling: the reference on its own properties, then everything else against the reference."""

from __future__ import annotations

import functools

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

from kernels.testing import assert_parity
from kernels.zpool2d import functional, lowering, reference
from sdk.backends import openvino

Windows = tuple[int, ...]
SHAPES = [(1, 3, 1, 1), (1, 3, 31, 31), (2, 3, 33, 47), (1, 3, 5, 64)]  # one pixel; one window; odd; below a window
SETTINGS = [((7, 15, 31), True), ((7, 15, 31, 63), False), ((3,), True)]
KINDS = {np.float32: TensorProto.FLOAT, np.float16: TensorProto.FLOAT16}


def model(windows: Windows, magnitude: bool, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", kind, ["N", "C", "H", "W"])
    min_std = helper.make_tensor_value_info("min_std", kind, ["C"])
    z = helper.make_tensor_value_info("z", kind, ["N", len(windows) + 1, "C", "H", "W"])
    settings = {"windows": windows, "magnitude": int(magnitude)}
    node = helper.make_node(lowering.NAME, ["x", "min_std"], ["z"], domain=lowering.DOMAIN, **settings)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(lowering.DOMAIN, 1)]
    graph = helper.make_graph([node], "zpool2d", [x, min_std], [z])
    functions = [lowering.function(**settings)]
    made = helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(made)
    return made


def inlined(x: np.ndarray, windows: Windows, magnitude: bool) -> bytes:
    return inliner.inline_local_functions(model(windows, magnitude, KINDS[x.dtype.type])).SerializeToString()


def run_torch(x: np.ndarray, min_std: np.ndarray, windows: Windows, magnitude: bool) -> np.ndarray:
    # Where a gradient is wanted torch computes it itself, whether or not there is a native library.
    features = torch.from_numpy(x).requires_grad_()
    return functional.zpool2d(features, torch.from_numpy(min_std), windows, magnitude=magnitude).detach().numpy()


def run_onnx(x: np.ndarray, min_std: np.ndarray, windows: Windows, magnitude: bool) -> np.ndarray:
    return ReferenceEvaluator(model(windows, magnitude, KINDS[x.dtype.type])).run(None, {"x": x, "min_std": min_std})[0]


def run_onnxruntime(x: np.ndarray, min_std: np.ndarray, windows: Windows, magnitude: bool) -> np.ndarray:
    session = onnxruntime.InferenceSession(inlined(x, windows, magnitude), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x, "min_std": min_std})[0]


def run_openvino(x: np.ndarray, min_std: np.ndarray, windows: Windows, magnitude: bool) -> np.ndarray:
    core = openvino.runtime().Core()
    read = core.read_model(inlined(x, windows, magnitude))
    return core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({"x": x, "min_std": min_std})[0]


IMPLEMENTATIONS = {"torch": run_torch, "onnx": run_onnx, "onnxruntime": run_onnxruntime, "openvino": run_openvino}


def expected(x: np.ndarray, min_std: np.ndarray, windows: Windows, magnitude: bool) -> np.ndarray:
    return reference.zpool2d(x.astype(np.float64), min_std.astype(np.float64), windows, magnitude=magnitude)


def floors(values: list[float], dtype: type) -> np.ndarray:
    return np.array(values, dtype)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize(("windows", "magnitude"), SETTINGS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_reference(
    name: str, shape: tuple[int, ...], windows: Windows, magnitude: bool, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape).astype(np.float32)
    min_std = floors([1e-5, 0.3, 2.0], np.float32)  # never, perhaps and always the larger one
    truth = expected(x, min_std, windows, magnitude)
    assert_parity(IMPLEMENTATIONS[name](x, min_std, windows, magnitude), truth, op="zpool2d", precision="fp32")


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_half_precision_in_and_out_is_float32_between(name: str, rng: np.random.Generator) -> None:
    x = (100 + rng.standard_normal((1, 3, 33, 47))).astype(np.float16)
    min_std = floors([1e-3, 0.3, 2.0], np.float16)
    actual = IMPLEMENTATIONS[name](x, min_std, (7, 15), True)
    assert actual.dtype == np.float16
    assert_parity(actual, expected(x, min_std, (7, 15), True), op="zpool2d", precision="fp16")


def test_bfloat16_in_and_out_is_float32_between(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.standard_normal((1, 3, 33, 47))).bfloat16()
    min_std = torch.full((3,), 1e-5)
    actual = functional.zpool2d(x, min_std)
    assert actual.dtype == torch.bfloat16
    truth = reference.zpool2d(x.double().numpy(), min_std.double().numpy())
    assert_parity(actual.float().numpy(), truth, op="zpool2d", precision="bf16")


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_features_far_from_zero_lose_nothing(name: str, rng: np.random.Generator) -> None:
    x = (1000 + rng.standard_normal((1, 3, 65, 130))).astype(np.float32)
    min_std = floors([1e-5, 1e-5, 1e-5], np.float32)
    actual = IMPLEMENTATIONS[name](x, min_std, (7, 31), False)
    assert np.abs(actual - expected(x, min_std, (7, 31), False)).max() < 2e-4  # 1000 in float32 is exact to 3e-5


def test_gradients_of_both_inputs(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.standard_normal((2, 3, 5, 6))).requires_grad_()
    min_std = torch.tensor([1e-3, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    for magnitude in (True, False):
        call = functools.partial(functional.zpool2d, windows=(3, 5), magnitude=magnitude)
        assert torch.autograd.gradcheck(call, (x, min_std))


def test_gradients_of_a_constant_channel_are_finite() -> None:
    x = torch.ones(1, 1, 9, 9, requires_grad=True)
    min_std = torch.tensor([1e-5], requires_grad=True)
    functional.zpool2d(x, min_std).sum().backward()
    assert torch.isfinite(x.grad).all() and torch.isfinite(min_std.grad).all()


def test_a_tile_with_the_statistics_of_its_frame_equals_the_frame(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.standard_normal((1, 2, 40, 53)))
    min_std = torch.full((2,), 1e-5, dtype=torch.float64)
    whole = functional.zpool2d(x, min_std, (3, 7))
    tile = functional.zscores(x[..., 10:30, 5:40], *functional.statistics(x), min_std, windows=(3, 7))
    torch.testing.assert_close(tile[..., 3:-3, 3:-3], whole[..., 13:27, 8:37], rtol=0, atol=1e-12)


def brute_force_mean(x: np.ndarray, window: int) -> np.ndarray:
    """The mean over the window's pixels that exist, one pixel after the other."""
    half, result = window // 2, np.empty_like(x)
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            part = x[:, :, max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1]
            result[:, :, row, column] = part.mean(axis=(2, 3))
    return result


sides = st.integers(1, 12)
frames = st.tuples(st.integers(1, 2), st.just(2), sides, sides).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-10, 10, width=32))
)
FLOOR = np.full(2, 1e-3)


@given(x=frames, window=st.sampled_from([1, 3, 7, 31]))
def test_integral_image_equals_brute_force(x: np.ndarray, window: int) -> None:
    np.testing.assert_allclose(reference.window_mean(x, window), brute_force_mean(x, window), atol=1e-9)


@given(x=frames, shift=st.floats(-100, 100), scale=st.floats(0.5, 20))
def test_invariant_to_brightness_and_contrast(x: np.ndarray, shift: float, scale: float) -> None:
    np.testing.assert_allclose(
        reference.zpool2d(scale * x + shift, scale * FLOOR), reference.zpool2d(x, FLOOR), atol=1e-6
    )


@given(x=frames)
def test_frame_slice_has_zero_mean_and_at_most_unit_variance(x: np.ndarray) -> None:
    z = reference.zpool2d(x, FLOOR, magnitude=False)[:, -1]
    np.testing.assert_allclose(z.mean((2, 3)), 0, atol=1e-6)
    assert (z.std((2, 3)) <= 1 + 1e-6).all()


@given(x=frames)
def test_a_window_that_covers_the_frame_is_the_frame(x: np.ndarray) -> None:
    z = reference.zpool2d(x, FLOOR, (2 * max(x.shape[2:]) - 1,), magnitude=False)
    np.testing.assert_allclose(z[:, 0], z[:, 1], atol=1e-6)


@given(x=frames)
def test_magnitude_is_the_absolute_value_and_the_sign_that_of_x_minus_mean(x: np.ndarray) -> None:
    signed = reference.zpool2d(x, FLOOR, (3,), magnitude=False)
    np.testing.assert_array_equal(reference.zpool2d(x, FLOOR, (3,)), np.abs(signed))
    above = x > x.mean((2, 3), keepdims=True) + 1e-6
    assert (signed[:, -1][above] > 0).all()


@pytest.mark.parametrize(
    "make",
    [lambda w: functional.zpool2d(torch.zeros(1, 1, 4, 4), torch.ones(1), w), lambda w: lowering.function(windows=w)],
    ids=["torch", "onnx"],
)
@pytest.mark.parametrize("windows", [(7, 8), (0,), (-3,)])
def test_windows_without_a_middle_pixel_are_refused(make, windows: Windows) -> None:
    with pytest.raises(ValueError, match=r"windows are .* px\n  -> use odd sides, \(7, 15, 31\)"):
        make(windows)


@pytest.mark.filterwarnings("ignore")  # the exporter warns about its own internals
def test_export_leaves_one_node_with_its_attributes() -> None:
    class Pool(torch.nn.Module):
        def forward(self, x: torch.Tensor, min_std: torch.Tensor) -> torch.Tensor:
            return functional.zpool2d(x, min_std, (7, 15), magnitude=False)

    program = torch.onnx.export(Pool().eval(), (torch.rand(1, 2, 9, 8), torch.ones(2)), dynamo=True, verbose=False)
    (node,) = program.model_proto.graph.node
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    assert (node.domain, node.op_type) == (lowering.DOMAIN, lowering.NAME)
    assert settings == {"windows": [7, 15], "magnitude": 0}
    assert [len(node.input) for node in lowering.function(**settings).node if node.op_type == "Concat"] == [3]
