"""ZPool2D's plugins for TensorRT: their kernels against the reference, their descriptions by TensorRT's own checks."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from kernels import cuda_library
from kernels.testing import assert_parity
from kernels.zpool2d import lowering, reference, tensorrt_plugin
from kernels.zpool2d.tensorrt_nodes import in_plugins
from tests.kernels import cuda_on_cpu
from tests.kernels.cuda_on_cpu import KERNELS, rounded, widened

RUNNERS = """
#define RUN_MOMENTS(name, T)                                                                            \\
  extern "C" int run_moments_##name(unsigned grid, unsigned block, unsigned shared, const void* x,      \\
                                    const int* numbers, float* parts) {                                 \\
    return launch(zpool2d_moments_##name, dim3(grid), dim3(block), shared, nullptr,                     \\
                  static_cast<const T*>(x), numbers[0], numbers[1], parts);                             \\
  }
#define RUN_SCORES(name, T, F)                                                                          \\
  extern "C" int run_scores_##name(unsigned grid, unsigned block, unsigned shared, const void* x,       \\
                                   const void* floor, const float* parts, const int* i, void* z) {      \\
    return launch(zpool2d_scores_##name, dim3(grid), dim3(block), shared, nullptr,                      \\
                  static_cast<const T*>(x), static_cast<const F*>(floor), parts, i[0], i[1], i[2],      \\
                  i[3], i[4], i[5], i[6], i[7], i[8], static_cast<T*>(z));                              \\
  }
RUN_MOMENTS(fp32, float)
RUN_MOMENTS(fp16, __half)
RUN_MOMENTS(bf16, __nv_bfloat16)
RUN_SCORES(fp32_fp32, float, float)
RUN_SCORES(fp16_fp32, __half, float)
RUN_SCORES(fp16_fp16, __half, __half)
RUN_SCORES(bf16_fp32, __nv_bfloat16, float)
RUN_SCORES(bf16_bf16, __nv_bfloat16, __nv_bfloat16)
"""
CASES = [
    ((1, 2, 1, 1), (7, 15, 31)),  # one pixel, below every window
    ((2, 3, 33, 47), (7, 15, 31)),
    ((1, 2, 5, 300), (7, 15, 31, 63)),  # lower than a window, and several strips
    ((1, 1, 70, 304), (3,)),  # several segments
    ((1, 1, 9, 521), (225,)),
    ((1, 2, 8, 9), ()),  # the frame alone
]
STUB = Path(__file__).parents[1] / "sdk" / "engines" / "trt_stub.c"
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
ASK = """
import sys
import tensorrt_bindings
sys.modules["tensorrt"] = tensorrt_bindings
from kernels.zpool2d import tensorrt_plugin
tensorrt_plugin.register(b"code", lazily=True)
import tensorrt.plugin as plugin
{}
"""


@pytest.fixture(scope="module")
def library(on_cpu: Callable[[Path], ctypes.CDLL], pytestconfig: pytest.Config) -> ctypes.CDLL:
    """The kernels, each with a function that launches it on the CPU."""
    source = pytestconfig.cache.mkdir("tensorrt-kernels") / "runners.cpp"
    return on_cpu(cuda_on_cpu.joined(source, tensorrt_plugin.KERNELS, text=RUNNERS))


def run(library: ctypes.CDLL, launch: tensorrt_plugin.Launch, *arrays: np.ndarray) -> None:
    numbers = (ctypes.c_int * len(launch.arguments))(*launch.arguments)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
    runner = getattr(library, launch.kernel.replace("zpool2d_", "run_"))
    assert runner(launch.grid, launch.block, launch.shared, *pointers[:-1], numbers, pointers[-1]) == 0, launch
    assert not cuda_on_cpu.message(library)


@pytest.mark.parametrize("precisions", [("fp32", "fp32"), ("fp16", "fp32"), ("fp16", "fp16"), ("bf16", "bf16")])
@pytest.mark.parametrize(("shape", "windows"), CASES, ids=str)
def test_two_launches_are_the_reference(library, shape, windows, precisions, rng):
    precision, floor_precision = precisions
    n, c, h, w = shape
    x = rounded(rng.standard_normal(shape) + 3, precision)
    floor = rounded(np.linspace(0.25, 2, c), floor_precision)
    parts = np.full((n, c, 3 * tensorrt_plugin.PARTS), np.nan, np.float32)
    z = np.zeros((n, len(windows) + 1, c, h, w), x.dtype)
    z.view(np.uint8)[...] = 0xFF  # not a number in any type, until it is written
    cuda_on_cpu.choose(library, seed=1)
    run(library, tensorrt_plugin.moments(shape, precision), x, parts)
    launch = tensorrt_plugin.scores(shape, precision, floor_precision, windows, magnitude=False)
    run(library, launch, x, floor, parts, z)
    expected = reference.zpool2d(widened(x), widened(floor), windows, magnitude=False)
    assert_parity(widened(z), expected, op="zpool2d", precision=precision)


@pytest.mark.parametrize("windows", [(7, 15, 31, 63, 5), (8,), (0,), (227,)], ids=str)
def test_windows_that_no_launch_takes_are_refused(windows):
    with pytest.raises(ValueError, match=r"does not take windows of .* px\n  -> up to 4, odd and at most 225 px"):
        tensorrt_plugin.scores((1, 1, 4, 4), "fp32", "fp32", windows, magnitude=True)


def test_every_launch_names_a_kernel_that_there_is():
    text = tensorrt_plugin.KERNELS.read_text(encoding="utf-8")
    there = set(re.findall(r"^(?:MOMENTS|SCORES)\((\w+),", text, re.MULTILINE))
    assert there == set(tensorrt_plugin.BYTES) | {
        f"{precision}_{floor}" for precision in tensorrt_plugin.BYTES for floor in {precision, "fp32"}
    }


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Runs a program in which TensorRT's own bindings are imported over a stub of its library: nothing can be built."""
    found = importlib.util.find_spec("tensorrt_bindings")
    if found is None or shutil.which("gcc") is None:
        pytest.skip("no nvcc: TensorRT's bindings come with it: pip install 'imdl-sdk[nvcc]'; and gcc builds the stub")
    folder = tmp_path_factory.mktemp("stub")
    major = importlib.metadata.version("tensorrt-cu13-bindings").split(".")[0]
    for name in LIBRARIES:
        target = folder / f"lib{name}.so.{major}"
        subprocess.run(["gcc", "-shared", "-fPIC", "-w", str(STUB), "-o", str(target)], check=True)

    def ask(program: str) -> str:
        environment = os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(KERNELS.parent)}
        command = [sys.executable, "-W", "ignore", "-c", ASK.format(program)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return ask


def test_tensorrt_takes_the_descriptions(asked):
    told = asked("print(sorted(plugin._lib.QDP_REGISTRY))\nprint(plugin.op.forensics.ZPool2DScores.input_attrs.keys())")
    assert "['forensics::ZPool2DMoments', 'forensics::ZPool2DScores']" in told
    assert "dict_keys(['windows', 'magnitude'])" in told


def test_a_launch_is_said_in_tensorrts_words(asked):
    program = (
        "launch = tensorrt_plugin.scores((1, 2, 30, 40), 'fp16', 'fp32', (7, 15), magnitude=True)\n"
        "kernel, code, parameters, extra = tensorrt_plugin.answered(plugin, b'code', launch)\n"
        "print(kernel, code, type(parameters).__name__, len(extra), {type(one).__name__ for one in extra})"
    )
    assert asked(program).splitlines()[-1] == "zpool2d_scores_fp16_fp32 b'code' KernelLaunchParams 9 {'SymInt32'}"


def test_a_description_that_is_not_the_plugins_would_be_refused(asked):
    """The check has teeth: TensorRT compares what is launched with what was registered."""
    program = (
        "try:\n"
        "    plugin.aot_impl('forensics::ZPool2DMoments')(lambda y, outputs, tactic: None)\n"
        "except ValueError as error:\n"
        "    print(error)"
    )
    assert "does not match the expected input arg schema" in asked(program)


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
    done = cuda_on_cpu.same_tests_under_sanitizer(f"{__file__}::test_two_launches_are_the_reference")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
