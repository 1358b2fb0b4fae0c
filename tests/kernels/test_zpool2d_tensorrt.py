"""ZPool2D's plugins for TensorRT: their kernels against the reference, their descriptions by TensorRT's own checks."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from kernels import cuda_library
from kernels.tensorrt_launch import BYTES, Array
from kernels.tensorrt_nodes import in_plugins
from kernels.testing import assert_parity
from kernels.zpool2d import lowering, reference, tensorrt_plugin
from tests.kernels import cuda_on_cpu, tensorrt_launches
from tests.kernels.cuda_on_cpu import rounded, widened
from tests.kernels.tensorrt_launches import described, done

FLOORS = {f"{precision}_{floor}" for precision in BYTES for floor in {precision, "fp32"}}
NAMES = sorted([f"zpool2d_moments_{precision}" for precision in BYTES] + [f"zpool2d_scores_{each}" for each in FLOORS])
CASES = [
    ((1, 2, 1, 1), (7, 15, 31)),  # one pixel, below every window
    ((2, 3, 33, 47), (7, 15, 31)),
    ((1, 2, 5, 300), (7, 15, 31, 63)),  # lower than a window, and several strips
    ((1, 1, 70, 304), (3,)),  # several segments
    ((1, 1, 9, 521), (225,)),
    ((1, 2, 8, 9), ()),  # the frame alone
]
REGISTERED = """
from kernels.tensorrt_launch import Array, answered
from kernels.zpool2d import tensorrt_plugin
tensorrt_plugin.register(b"code", lazily=True)
"""


@pytest.fixture(scope="module")
def library(on_cpu: Callable[[Path], ctypes.CDLL], pytestconfig: pytest.Config) -> ctypes.CDLL:
    """The kernels, each with a function that launches it on the CPU."""
    source = pytestconfig.cache.mkdir("tensorrt-kernels") / "zpool2d.cpp"
    return tensorrt_launches.library(on_cpu, source, tensorrt_plugin.KERNELS, NAMES)


@pytest.mark.parametrize("precisions", [("fp32", "fp32"), ("fp16", "fp32"), ("fp16", "fp16"), ("bf16", "bf16")])
@pytest.mark.parametrize(("shape", "windows"), CASES, ids=str)
def test_two_launches_are_the_reference(library, shape, windows, precisions, rng):
    precision, floor_precision = precisions
    x = rounded(rng.standard_normal(shape) + 3, precision)
    floor = rounded(np.linspace(0.25, 2, shape[1]), floor_precision)
    cuda_on_cpu.choose(library, seed=1)
    x_known, floor_known = described(x, precision), described(floor, floor_precision)
    moments = tensorrt_plugin.moments(x_known)
    (parts,) = done(library, moments, x)
    settings = {"windows": windows, "magnitude": False}
    (z,) = done(library, tensorrt_plugin.scores(x_known, floor_known, *moments.outputs, **settings), x, floor, parts)
    expected = reference.zpool2d(widened(x), widened(floor), windows, magnitude=False)
    assert_parity(widened(z), expected, op="zpool2d", precision=precision)


@pytest.mark.parametrize("windows", [(7, 15, 31, 63, 5), (8,), (0,), (227,)], ids=str)
def test_windows_that_no_launch_takes_are_refused(windows):
    with pytest.raises(ValueError, match=r"does not take windows of .* px\n  -> up to 4, odd and at most 225 px"):
        tensorrt_plugin.scores(*[Array((1, 1, 4, 4), "fp32")] * 3, windows=windows, magnitude=True)


def test_every_launch_names_a_kernel_that_there_is():
    text = tensorrt_plugin.KERNELS.read_text(encoding="utf-8")
    there = set(re.findall(r"^(?:MOMENTS|SCORES)\((\w+),", text, re.MULTILINE))
    assert there == set(BYTES) | FLOORS


def test_tensorrt_takes_the_descriptions(asked):
    told = asked(
        REGISTERED
        + "print(sorted(plugin._lib.QDP_REGISTRY))\nprint(plugin.op.forensics.ZPool2DScores.input_attrs.keys())"
    )
    assert "['forensics::ZPool2DMoments', 'forensics::ZPool2DScores']" in told
    assert "dict_keys(['windows', 'magnitude'])" in told


def test_sizes_that_no_frame_has_yet_make_launches_and_outputs(asked):
    program = (
        "def unknown(rank, dtype):\n"
        "    return plugin.TensorDesc(plugin.ShapeExprs(rank, _is_dummy=True), dtype)\n"
        "types = tensorrt_bindings.DataType\n"
        "tensors = unknown(4, types.HALF), unknown(1, types.FLOAT), unknown(3, types.FLOAT)\n"
        "scores = plugin._lib.QDP_REGISTRY['forensics::ZPool2DScores']\n"
        "(z,) = scores.register_func(*tensors, windows=[7, 15], magnitude=1)\n"
        "kernel, *_, extra = scores.aot_impl_func(*tensors, [7, 15], 1, (z,), 0)\n"
        "print(len(z.shape_expr), z.dtype.name, kernel, len(extra))"
    )
    assert asked(REGISTERED + program).splitlines()[-1] == "5 HALF zpool2d_scores_fp16_fp32 9"


def test_a_launch_is_said_in_tensorrts_words(asked):
    program = (
        "x, floor, parts = Array((1, 2, 30, 40), 'fp16'), Array((2,), 'fp32'), Array((1, 2, 96), 'fp32')\n"
        "launch = tensorrt_plugin.scores(x, floor, parts, windows=(7, 15), magnitude=True)\n"
        "kernel, code, parameters, extra = answered(plugin, b'code', launch)\n"
        "print(kernel, code, type(parameters).__name__, len(extra), {type(one).__name__ for one in extra})"
    )
    assert (
        asked(REGISTERED + program).splitlines()[-1]
        == "zpool2d_scores_fp16_fp32 b'code' KernelLaunchParams 9 {'SymInt32'}"
    )


def test_a_description_that_is_not_the_plugins_would_be_refused(asked):
    """The check has teeth: TensorRT compares what is launched with what was registered."""
    program = (
        "try:\n"
        "    plugin.aot_impl('forensics::ZPool2DMoments')(lambda y, outputs, tactic: None)\n"
        "except ValueError as error:\n"
        "    print(error)"
    )
    assert "does not match the expected input arg schema" in asked(REGISTERED + program)


def test_nodes_become_two_plugins_each_and_keep_what_surrounds_them():
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("ZPool2D", ["r", "floor"], ["z"], name="pool", domain="forensics", windows=[7], magnitude=0),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "floor", "z")]
    graph = helper.make_graph(nodes, "one", values[:2], values[2:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("forensics", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=[lowering.function(windows=(7,), magnitude=0)])
    found = in_plugins(model)
    assert [node.op_type for node in found.graph.node] == ["Relu", "ZPool2DMoments", "ZPool2DScores"]
    moments, scores = found.graph.node[1:]
    assert list(scores.input) == ["r", "floor", *moments.output]
    assert list(scores.output) == ["z"]
    told = {attribute.name: helper.get_attribute_value(attribute) for attribute in scores.attribute}
    assert (told["plugin_namespace"], told["plugin_version"]) == (b"forensics", b"1")
    assert (told["windows"], told["magnitude"]) == ([7], 0)
    assert not found.functions
    assert len(model.functions) == 1
    del nodes[1].attribute[:]
    nodes[1].attribute.extend(helper.make_node("N", [], [], windows=[8], magnitude=0).attribute)
    with pytest.raises(ValueError, match=r"does not take windows of \[8\] px"):
        in_plugins(helper.make_model(helper.make_graph(nodes, "one", values[:2], values[2:])))


@pytest.mark.slow
def test_the_kernels_become_machine_code_with_their_names():
    if cuda_library.missing():
        pytest.skip(f"CUDA sources are not compiled: {'; '.join(cuda_library.missing())}")
    code, _ = cuda_library.cubin(tensorrt_plugin.KERNELS, 90)
    assert code.startswith(b"\x7fELF")
    for name in ("zpool2d_moments_bf16", "zpool2d_scores_fp32_fp32", "zpool2d_scores_fp16_fp16"):
        assert name.encode() in code


@pytest.mark.slow
def test_address_sanitizer_finds_nothing(library):
    again = cuda_on_cpu.same_tests_under_sanitizer(f"{__file__}::test_two_launches_are_the_reference")
    assert again.returncode == 0, again.stdout[-4000:] + again.stderr[-4000:]
