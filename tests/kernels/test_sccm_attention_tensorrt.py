"""SCCM attention's plugins for TensorRT: kernels against the reference, descriptions by TensorRT's own checks."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from kernels import cuda_library
from kernels.sccm_attention import reference, tensorrt_nodes, tensorrt_plugin
from kernels.sccm_attention.tensorrt_plugin import ranges
from kernels.tensorrt_launch import BYTES, SHARED_BYTES, Array, Launch
from kernels.testing import assert_parity
from tests.kernels import cuda_on_cpu, tensorrt_launches
from tests.kernels.cuda_on_cpu import rounded, widened
from tests.kernels.tensorrt_launches import described, done, empty

STEPS = ("ranges", "spatial", "logits", "weights", "channel")
NAMES = [f"sccm_attention_{step}_{precision}" for step in STEPS for precision in BYTES] + [
    f"sccm_attention_{step}_on_tensor_cores_{precision}"
    for step in ("ranges", "logits", "channel")
    for precision in ("fp16", "bf16")
]
SHARED = 'extern "C" int shared_bytes(int d) { return int(sccm_attention::tensor_shared_bytes(d)); }\n'
SHAPES = [
    (1, 3, 4),
    (2, 5, 9),
    (1, 18, 64),  # one tile
    (2, 20, 301),  # three ranges of keys, of which the last is shorter; rows that are not of whole 16 bytes
    (1, 20, 304),  # the same with rows that are
    (1, 144, 136),
    (1, 161, 72),  # more channels than tensor cores take for the ranges
    (1, 288, 64),
    (1, 9, 520),  # two parts of the positions that the channels' logits sum over
    (1, 330, 70),  # more channels than one block sums
]
ROUTES = [("fp32", False), ("fp16", False), ("bf16", False), ("fp16", True), ("bf16", True)]
REGISTERED = """
from kernels.sccm_attention import tensorrt_plugin
tensorrt_plugin.register(b"code", {}, lazily=True)
"""


@pytest.fixture(scope="module")
def library(on_cpu: Callable[[Path], ctypes.CDLL], pytestconfig: pytest.Config) -> ctypes.CDLL:
    """The kernels, each with a function that launches it on the CPU."""
    source = pytestconfig.cache.mkdir("tensorrt-kernels") / "sccm_attention.cpp"
    return tensorrt_launches.library(on_cpu, source, tensorrt_plugin.KERNELS, NAMES, SHARED)


def launches(tensors: dict[str, Array], *, tensor_cores: bool) -> list[tuple[list[str], Launch, list[str]]]:
    """What an engine launches for a node of theta, phi and g: names of inputs, launch, names of outputs."""
    plugins = {plugin.name: plugin for plugin in tensorrt_plugin.plugins(tensor_cores=tensor_cores)}
    node = helper.make_node("SCCMAttention", ["theta", "phi", "g"], ["spatial", "channel"], name="attention")
    tensors, found = dict(tensors), []
    for each in tensorrt_nodes.plugins(node):
        launch = plugins[each.op_type].launch(*(tensors[name] for name in each.input))
        tensors |= zip(each.output, launch.outputs, strict=True)
        found.append((list(each.input), launch, list(each.output)))
    return found


def stored(values: np.ndarray, precision: str) -> np.ndarray:
    """The numbers as the kernel reads them, at an address as TensorRT's."""
    array = empty(Array(values.shape, precision))
    array[:] = rounded(values, precision)
    return array


@pytest.mark.parametrize(("precision", "tensor_cores"), ROUTES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_five_launches_are_the_reference(library, shape, precision, tensor_cores, rng):
    arrays = {name: stored(rng.standard_normal(shape), precision) for name in ("theta", "phi", "g")}
    expected = reference.sccm_attention(*map(widened, arrays.values()))
    cuda_on_cpu.choose(library, seed=1, shared_limit=SHARED_BYTES)
    known = {name: described(array, precision) for name, array in arrays.items()}
    for inputs, launch, outputs in launches(known, tensor_cores=tensor_cores):
        arrays |= zip(outputs, done(library, launch, *(arrays[name] for name in inputs)), strict=True)
    for name, truth in zip(("spatial", "channel"), expected, strict=True):
        assert_parity(widened(arrays[name]), truth, op="sccm_attention", precision=precision)


def of_psccnet(shape: tuple[Any, ...], precision: str, *, tensor_cores: bool) -> list[Launch]:
    known = {name: Array(shape, precision) for name in ("theta", "phi", "g")}
    return [launch for _, launch, _ in launches(known, tensor_cores=tensor_cores)]


def test_every_kernel_is_launched_for_some_work():
    shapes = [(1, 144, 64), (1, 288, 64)]
    assert {
        launch.kernel
        for shape in shapes
        for precision, tensor_cores in ROUTES
        for launch in of_psccnet(shape, precision, tensor_cores=tensor_cores)
    } == set(NAMES)


def test_tensor_cores_take_ranges_of_so_many_channels_as_fit_into_a_block(library):
    known = [Array((1, 144, 4096), "fp16")] * 3, [Array((1, 288, 4096), "fp16")] * 3
    half, whole = (ranges(*each, tensor_cores=True) for each in known)
    assert (half.kernel, half.shared) == ("sccm_attention_ranges_on_tensor_cores_fp16", library.shared_bytes(144))
    assert (whole.kernel, whole.shared) == ("sccm_attention_ranges_fp16", 0)
    assert library.shared_bytes(144) <= SHARED_BYTES < library.shared_bytes(288)


@pytest.mark.parametrize(("b", "n", "count"), [(1, 64, 1), (1, 256, 2), (1, 1024, 6), (1, 4096, 4), (8, 4096, 1)])
def test_ranges_are_enough_for_a_large_gpu_and_none_is_short(b, n, count):
    launch = ranges(*[Array((b, 144, n), "fp32")] * 3, tensor_cores=False)
    assert launch.outputs[0].shape == (count, b, n, 144)
    assert launch.grid == (n // 64, count, b)
    assert launch.arguments[-1] * 64 >= 128


def test_memory_grows_with_positions_and_not_with_their_square():
    small, large = (ranges(*[Array((1, 144, n), "fp32")] * 3, tensor_cores=False) for n in (1 << 14, 1 << 18))
    assert np.prod(large.outputs[0].shape) <= 16 * np.prod(small.outputs[0].shape)


def test_arrays_of_several_types_are_refused():
    known = Array((1, 8, 8), "fp16")
    with pytest.raises(ValueError, match=r"arrays of fp16, fp16, fp32 together\n  -> cast them to one type"):
        ranges(known, known, Array((1, 8, 8), "fp32"), tensor_cores=True)
    with pytest.raises(ValueError, match=r"arrays of fp16, bf16 together"):
        tensorrt_plugin.logits(known, Array((1, 8, 8), "bf16"), tensor_cores=True)


@dataclass(frozen=True)
class Size:
    """An expression of TensorRT's, which is left of its operators; its value is looked at last."""

    value: int
    is_constant: bool = False
    is_fake = False

    def constant_value(self) -> int:
        assert self.is_constant
        return self.value

    def __add__(self, other: int | Size) -> Size:
        return Size(self.value + evaluated(other))

    def __sub__(self, other: int | Size) -> Size:
        return Size(self.value - evaluated(other))

    def __mul__(self, other: int | Size) -> Size:
        return Size(self.value * evaluated(other))

    def __floordiv__(self, other: int | Size) -> Size:
        return Size(self.value // evaluated(other))


def evaluated(known: Any) -> Any:
    if isinstance(known, Size):
        return known.value
    return tuple(map(evaluated, known)) if isinstance(known, tuple) else known


@pytest.mark.parametrize("tensor_cores", [False, True])
@pytest.mark.parametrize("channels", [144, 288])
def test_sizes_of_frames_to_come_make_the_launches_of_known_sizes(channels, tensor_cores):
    shapes = (2, channels, 1024), (Size(2), Size(channels, is_constant=True), Size(1024))
    numbers, expressions = (of_psccnet(shape, "fp16", tensor_cores=tensor_cores) for shape in shapes)
    for known, later in zip(numbers, expressions, strict=True):
        for name in ("kernel", "grid", "block", "shared", "arguments"):
            assert evaluated(getattr(later, name)) == getattr(known, name)
        assert [evaluated(each.shape) for each in later.outputs] == [each.shape for each in known.outputs]


def test_tensorrt_takes_the_descriptions(asked):
    told = asked(REGISTERED.format(75) + "print(sorted(plugin._lib.QDP_REGISTRY))")
    assert told.splitlines()[-1] == str(
        sorted(f"forensics::{each.name}" for each in tensorrt_plugin.plugins(tensor_cores=True))
    )


@pytest.mark.parametrize("architecture", [75, 90])
def test_sizes_that_tensorrt_does_not_know_make_launches_and_outputs(asked, architecture):
    program = """
types = tensorrt_bindings.DataType
def unknown(rank):
    return plugin.TensorDesc(plugin.ShapeExprs(rank, _is_dummy=True), types.HALF)
def launched(name, *tensors):
    one = plugin._lib.QDP_REGISTRY[f"forensics::SCCMAttention{name}"]
    outputs = one.register_func(*tensors)
    kernel, code, parameters, extra = one.aot_impl_func(*tensors, outputs, 0)
    print(kernel, len(extra), *(f"{len(each.shape_expr)}{each.dtype.name}" for each in outputs))
    return outputs
theta, phi, g = (unknown(3) for _ in range(3))
launched("Spatial", *launched("Ranges", theta, phi, g), g)
launched("Channel", g, *launched("Weights", *launched("Logits", theta, phi), g))
"""
    on_tensor_cores, weights = ("_on_tensor_cores", "fp16") if architecture >= 80 else ("", "fp32")
    kind = "HALF" if architecture >= 80 else "FLOAT"
    assert asked(REGISTERED.format(architecture) + program).splitlines()[-5:] == [
        "sccm_attention_ranges_fp16 4 4FLOAT 3FLOAT 3FLOAT",
        "sccm_attention_spatial_fp16 4 3HALF",
        f"sccm_attention_logits{on_tensor_cores}_fp16 3 4FLOAT",
        f"sccm_attention_weights_{weights} 3 3{kind}",
        f"sccm_attention_channel{on_tensor_cores}_fp16 3 3HALF",
    ]


@pytest.mark.slow
def test_the_kernels_become_machine_code_with_their_names():
    if cuda_library.missing():
        pytest.skip(f"CUDA sources are not compiled: {'; '.join(cuda_library.missing())}")
    code, _ = cuda_library.cubin(tensorrt_plugin.KERNELS, 90)
    assert code.startswith(b"\x7fELF")
    assert [name for name in NAMES if name.encode() not in code] == []


@pytest.mark.slow
def test_address_sanitizer_finds_nothing(library):
    again = cuda_on_cpu.same_tests_under_sanitizer(f"{__file__}::test_five_launches_are_the_reference")
    assert again.returncode == 0, again.stdout[-4000:] + again.stderr[-4000:]
