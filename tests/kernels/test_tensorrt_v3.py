"""The C++ plugins for TensorRT, led on the CPU through all that TensorRT asks of one, against the reference.

They are compiled against signatures of TensorRT's interface that were written for the tests; where
``TENSORRT_ROOT`` names its headers, against these too.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from kernels import build, cuda_library
from kernels.errors import CannotBuild
from kernels.sccm_attention import cuda as sccm_launcher
from kernels.sccm_attention import reference as sccm_attention
from kernels.testing import assert_parity
from kernels.zpool2d import reference as zpool2d
from tests.kernels import cuda_on_cpu
from tests.kernels.cuda_on_cpu import rounded, widened

READS_TOO_FAR = """
import pathlib, sys
import numpy as np
from tests.kernels import cuda_on_cpu
from tests.kernels.test_tensorrt_v3 import HEADERS, run
library = cuda_on_cpu.build(*map(pathlib.Path, sys.argv[1:]), f"-I{HEADERS}")
cuda_on_cpu.choose(library)
floor = np.lib.stride_tricks.as_strided(np.ones(2, np.float32), (9,), (4,))
run(library, "ZPool2D", [(np.ones((1, 9, 4, 4), np.float32), "fp32"), (floor, "fp32")], {"windows": [3]})
"""
HOST = Path(__file__).with_name("tensorrt_host.cc")
HEADERS = Path(__file__).with_name("tensorrt_headers")
TYPES = {"fp32": 0, "fp16": 1, "bf16": 7}  # of nvinfer1::DataType
INT32, INT64 = 5, 10  # of nvinfer1::PluginFieldType
ROOM = 1 << 20
"""Bytes that every output may take."""


class Field(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("type", ctypes.c_int32),
        ("length", ctypes.c_int32),
    )


class Fields(ctypes.Structure):
    _fields_ = (("count", ctypes.c_int32), ("fields", ctypes.POINTER(Field)))


class Tensor(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("sizes", ctypes.c_int64 * 8),
        ("largest", ctypes.c_int64 * 8),
        ("data", ctypes.c_void_p),
    )


@pytest.fixture(scope="module")
def source(pytestconfig: pytest.Config) -> Path:
    """Kernels, plugins and what stands for TensorRT as one source, which names what it is made of."""
    parts = [HOST, *cuda_library.plugins(), *cuda_library.sources()]
    known = hashlib.sha256((HEADERS / "NvInferRuntime.h").read_bytes()).hexdigest()
    return cuda_on_cpu.joined(pytestconfig.cache.mkdir("tensorrt-v3") / "all.cpp", *parts, text=f"// {known}")


@pytest.fixture(scope="module")
def library(on_cpu: Callable[..., ctypes.CDLL], source: Path) -> ctypes.CDLL:
    """That source, built for the CPU."""
    built = on_cpu(source, f"-I{HEADERS}")
    built.tensorrt_told.restype = ctypes.c_char_p
    cuda_on_cpu.choose(built)
    return built


def run(
    library: ctypes.CDLL,
    op: str,
    inputs: Sequence[tuple[np.ndarray, str]],
    attributes: Mapping[str, Sequence[int]],
    *,
    outputs: int = 1,
    space: str = "",
    kind: int = INT32,
    growth: int = 1,
) -> list[np.ndarray]:
    """Outputs in float64; the engine was built for sizes up to ``growth`` times those that it is run with.

    Raises ValueError with the step that failed.
    """
    numbers = [np.array(values, np.int64 if kind == INT64 else np.int32) for values in attributes.values()]
    listed = [
        Field(name.encode(), array.ctypes.data, kind, array.size)
        for name, array in zip(attributes, numbers, strict=True)
    ]
    fields = Fields(len(listed), (Field * len(listed))(*listed))
    memory = [np.full(ROOM + 16, 0xFF, np.uint8) for _ in range(outputs)]
    tensors = (Tensor * (len(inputs) + outputs))()
    for tensor, (array, precision) in zip(tensors, inputs, strict=False):
        tensor.type, tensor.rank, tensor.data = TYPES[precision], array.ndim, array.ctypes.data
        for axis, size in enumerate(array.shape):
            tensor.sizes[axis], tensor.largest[axis] = size, growth * size
    for tensor, room in zip(tensors[len(inputs) :], memory, strict=True):
        tensor.data = room.ctypes.data + -room.ctypes.data % 16
    arguments = (op.encode(), space.encode(), ctypes.byref(fields), tensors, len(inputs), outputs)
    if library.tensorrt_runs(*arguments, ctypes.c_size_t(ROOM)):
        raise ValueError(library.tensorrt_told().decode())
    answers = []
    for tensor in tensors[len(inputs) :]:
        assert tensor.type == tensors[0].type
        shape, dtype = tuple(tensor.sizes[: tensor.rank]), inputs[0][0].dtype
        raw = np.frombuffer(ctypes.string_at(tensor.data, ROOM), np.uint8)
        size = int(np.prod(shape)) * dtype.itemsize
        assert (raw[size:] == 0xFF).all()  # nothing was written beyond
        answers.append(widened(raw[:size].view(dtype).reshape(shape)))
    return answers


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("floor_precision", ["own", "fp32"])
@pytest.mark.parametrize(
    ("shape", "windows", "growth"), [((2, 3, 11, 13), (3, 7), 1), ((1, 2, 5, 40), (7, 15, 31, 63, 5), 3)], ids=str
)
def test_zpool2d_is_the_reference(library, shape, windows, growth, precision, floor_precision, rng):
    floor_precision = precision if floor_precision == "own" else floor_precision
    x = rounded(rng.standard_normal(shape) + 2, precision)
    floor = rounded(np.linspace(0.25, 2, shape[1]), floor_precision)
    for magnitude in (0, 1):
        attributes = {"windows": windows, "magnitude": [magnitude]}
        (z,) = run(library, "ZPool2D", [(x, precision), (floor, floor_precision)], attributes, growth=growth)
        expected = zpool2d.zpool2d(widened(x), widened(floor), windows, magnitude=bool(magnitude))
        assert_parity(z, expected, op="zpool2d", precision=precision)


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize(("shape", "growth"), [((1, 16, 40), 1), ((2, 9, 33), 2)], ids=str)
def test_sccm_attention_is_the_reference(library, shape, growth, precision, rng):
    arrays = [rounded(rng.standard_normal(shape) / shape[1] ** 0.5, precision) for _ in range(3)]
    found = run(
        library, "SCCMAttention", [(array, precision) for array in arrays], {}, outputs=2, space="forensics",
        growth=growth,
    )  # fmt: skip
    for mine, theirs in zip(found, sccm_attention.sccm_attention(*map(widened, arrays)), strict=True):
        assert_parity(mine, theirs, op="sccm_attention", precision=precision)


def small(channels: int = 2, width: int = 6) -> list[tuple[np.ndarray, str]]:
    return [(np.ones((1, 2, 4, width), np.float32), "fp32"), (np.ones(channels, np.float32), "fp32")]


def test_a_graph_of_the_exporter_finds_its_plugins(library):
    """By type, by version and namespace of nodes that state neither, and by their domain as the namespace."""
    for space in ("", "forensics"):
        run(library, "ZPool2D", small(), {"windows": [3], "magnitude": [1]}, space=space)
    with pytest.raises(ValueError, match="no creator"):
        run(library, "ZPool2D", small(), {"windows": [3]}, space="other")


def test_attributes_may_be_long_and_others_are_of_the_node(library):
    attributes = {"windows": [3, 5], "magnitude": [1], "plugin_version": [1]}
    (z,) = run(library, "ZPool2D", small(), attributes, kind=INT64)
    assert z.shape == (1, 3, 2, 4, 6)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"windows": [4]}, "createPlugin\nZPool2D has no kernel for this: a window is even"),
        ({"windows": [3] * 9}, "createPlugin\nZPool2D has an attribute that it cannot have: windows"),
        ({"windows": [2**33 + 3]}, "createPlugin\nZPool2D has an attribute that it cannot have: windows"),
        ({"magnitude": [1, 1]}, "createPlugin\nZPool2D has an attribute that it cannot have: magnitude"),
    ],
)
def test_attributes_that_no_kernel_takes_are_refused_before_there_is_a_plugin(library, attributes, words):
    with pytest.raises(ValueError, match=words):
        run(library, "ZPool2D", small(), attributes, kind=INT64)


def test_sizes_that_no_kernel_takes_are_refused_when_an_engine_is_built_for_them(library):
    with pytest.raises(ValueError, match="configurePlugin\nZPool2D has no kernel for this: a window is wider than 225"):
        run(library, "ZPool2D", small(width=60), {"windows": [301]}, growth=2)
    with pytest.raises(ValueError, match=r"configurePlugin\nZPool2D has no kernel for this: min_std is not \[c\]"):
        run(library, "ZPool2D", small(channels=3), {"windows": [3]})


def test_types_that_do_not_fit_together_are_refused(library):
    x, floor = np.ones((1, 1, 4, 4), np.float32), np.ones(1, np.float16)
    with pytest.raises(ValueError, match="supportsFormatCombination"):
        run(library, "ZPool2D", [(x, "fp32"), (floor, "fp16")], {"windows": [3]})
    arrays = [(np.ones((1, 3, 4), np.float32), "fp32")] * 2
    with pytest.raises(ValueError, match="supportsFormatCombination"):
        run(library, "SCCMAttention", [*arrays, (np.ones((1, 3, 4), np.float16), "fp16")], {}, outputs=2)


def test_a_launch_that_fails_is_told(library):
    cuda_on_cpu.choose(library, shared_limit=0)
    with pytest.raises(ValueError, match="enqueue\nZPool2D was not launched: CUDA error 9"):
        run(library, "ZPool2D", small(), {"windows": [3]})
    cuda_on_cpu.choose(library)


def test_memory_for_the_largest_is_enough_for_the_smaller(library):
    """An engine keeps one number for all sizes of its profile, and may run on a device with more multiprocessors."""
    library.sccm_attention_workspace_bytes_up_to.restype = ctypes.c_size_t

    def most(*shape: int) -> int:
        work = sccm_launcher.Work(shape=shape)._launch()
        return library.sccm_attention_workspace_bytes_up_to(ctypes.byref(work))

    exceeded = False
    for multiprocessors in (16, 46, 132, 300):
        cuda_on_cpu.choose(library, multiprocessors=multiprocessors)
        for batch in (1, 3, 7):
            sizes = range(64, 4097, 192)
            needs = [sccm_launcher.Work(shape=(batch, 144, n)).workspace_bytes(library) for n in sizes]
            exceeded |= any(more < less for less, more in itertools.pairwise(needs))
            for i, n in enumerate(sizes):
                assert max(needs[: i + 1]) <= most(batch, 144, n)
    assert exceeded  # else the launcher's own number would do
    assert most(1, 144, 0) == 0


@pytest.mark.slow
def test_address_sanitizer_finds_nothing(library):
    done = cuda_on_cpu.same_tests_under_sanitizer(Path(__file__))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.slow
def test_address_sanitizer_would_have_noticed(library, source, pytestconfig):
    folder = pytestconfig.cache.mkdir("cuda-on-cpu")
    done = cuda_on_cpu.under_sanitizer(sys.executable, "-c", READS_TOO_FAR, str(source), str(folder))
    assert "heap-buffer-overflow" in done.stderr
    assert "zscores" in done.stderr


@pytest.mark.slow
def test_the_target_of_cmake_is_built_by_nvcc_and_offers_what_tensorrt_looks_for(native_file):
    if cuda_library.missing():
        pytest.skip(f"CUDA sources are not compiled: {'; '.join(cuda_library.missing())}")
    root = Path(os.environ.get("TENSORRT_ROOT") or HEADERS)
    built = ctypes.CDLL(str(build.tensorrt(root, folder="tensorrt-for-tests", architectures=(75,))))
    count = ctypes.c_int32()
    built.getCreators.restype = ctypes.POINTER(ctypes.c_void_p)
    assert built.getCreators(ctypes.byref(count))[0]
    assert count.value == 4
    assert built.setLoggerFinder


def test_without_its_headers_the_target_says_what_is_missing(tmp_path):
    with pytest.raises(CannotBuild, match=r"no NvInferRuntime\.h in .*\n  -> name the folder of TensorRT 10"):
        build.tensorrt(tmp_path)
