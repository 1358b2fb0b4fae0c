"""ZPool2D on the CPU, every way there is: what :mod:`benchmarks.kernels` times.

Each function of :data:`CONTENDERS` prepares one way and returns a call on the features that were given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, inliner

from kernels import library
from kernels.zpool2d import lowering, reference

Features = NDArray[np.float32]
Call = Callable[[], Features | None]
SEED = 1
JUDGED_CHANNELS = 2
"""Channels whose scores are compared with the reference: float64 takes its time."""
NEWER_OPSET = 22
"""From opset 19 on ONNX Runtime 1.31 computes AveragePool in a generic way, not in the vectorised one of opset 18."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """The work."""

    channels: int
    height: int
    width: int
    windows: tuple[int, ...]
    """px, odd."""
    threads: int
    device: str = "cpu"
    """Or cuda."""
    dtype: str = "float32"
    """Of features and scores; on a GPU also float16 or bfloat16."""

    op: ClassVar[str] = "zpool2d"

    @property
    def least_bytes(self) -> int:
        """Features read once, scores written once: what no implementation can do without."""
        size = 4 if self.dtype == "float32" else 2
        return size * self.channels * self.height * self.width * (len(self.windows) + 2)

    @property
    def least_flop(self) -> int | None:
        """Memory is what bounds it."""
        return None

    def inputs(self) -> dict[str, Features]:
        """Features of mean 0.5 and deviation 1, [1, C, H, W], and their floor, [C]."""
        generator = np.random.default_rng(SEED)
        x = generator.standard_normal((1, self.channels, self.height, self.width), np.float32)
        x += np.float32(0.5)
        floor = np.full(self.channels, 1e-5, np.float32)
        return {"x": as_stored(x, self.dtype), "min_std": as_stored(floor, self.dtype)}


def as_stored(array: Features, dtype: str) -> Features:
    """The nearest numbers that ``dtype`` has, so that what it loses on its way in is nobody's error."""
    if dtype == "float32":
        return array
    if dtype == "float16":
        return array.astype(np.float16).astype(np.float32)
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def error(outputs: Sequence[Features], case: Case) -> float:
    """Largest difference of the first channels from the reference."""
    x, min_std = case.inputs().values()
    few = slice(None, JUDGED_CHANNELS)
    truth = reference.zpool2d(x[:, few].astype(np.float64), min_std[few].astype(np.float64), case.windows)
    return float(np.abs(outputs[0][:, :, few] - truth).max())


def copy(case: Case) -> Call:
    """As many bytes as have to be read and written, moved by torch's copy: half of them in, half of them out."""
    import torch

    torch.set_num_threads(case.threads)
    source = torch.zeros(case.least_bytes // 8, dtype=torch.float32)
    target = torch.empty_like(source).fill_(1)

    def call() -> None:
        target.copy_(source)

    return call


def op_python(case: Case) -> Call:
    """The native operator on NumPy arrays, into an array that is there."""
    module = library.native()
    if module is None:
        raise RuntimeError(library.reason_against())
    inputs = case.inputs()
    z = np.zeros((1, len(case.windows) + 1, *inputs["x"].shape[1:]), np.float32)

    def call() -> Features:
        module.zpool2d(*inputs.values(), case.windows, magnitude=True, out=z, threads=case.threads)
        return z

    return call


def op_torch(case: Case) -> Call:
    """The native operator as torch's."""
    import torch

    from kernels.zpool2d import torch_op

    if library.native() is None:
        raise RuntimeError(library.reason_against())
    torch.set_num_threads(case.threads)
    x, floor = (torch.from_numpy(each) for each in case.inputs().values())
    return lambda: torch_op.zpool2d(x, floor, list(case.windows), magnitude=True).numpy()


def op_onnxruntime(case: Case) -> Call:
    """The native operator in ONNX Runtime, in the threads of its session."""
    path = library.path()
    if path is None:
        raise RuntimeError(library.reason_against())
    return _onnxruntime(case, model(case).SerializeToString(), str(path))


def separable_onnxruntime(case: Case) -> Call:
    """The portable body, windows along one axis after the other."""
    return _onnxruntime(case, inlined(case).SerializeToString())


def square_onnxruntime(case: Case) -> Call:
    """The same body with windows as they are usually exported: k x k."""
    return _onnxruntime(case, squared(inlined(case)).SerializeToString())


def separable_newer_onnxruntime(case: Case) -> Call:
    """The portable body as a model of a newer opset has it, for which ONNX Runtime has a slower AveragePool."""
    return _onnxruntime(case, newer(inlined(case)).SerializeToString())


def square_newer_onnxruntime(case: Case) -> Call:
    """The same with k x k windows."""
    return _onnxruntime(case, newer(squared(inlined(case))).SerializeToString())


def separable_openvino(case: Case) -> Call:
    """The portable body, windows along one axis after the other."""
    return _openvino(case, inlined(case).SerializeToString())


def square_openvino(case: Case) -> Call:
    """The same body with k x k windows."""
    return _openvino(case, squared(inlined(case)).SerializeToString())


def eager_torch(case: Case) -> Call:
    """The torch form, whose windows are separable too."""
    return _torch(case, is_compiled=False)


def compiled_torch(case: Case) -> Call:
    """The same through torch.compile, for this size alone."""
    return _torch(case, is_compiled=True)


CONTENDERS: dict[str, Callable[[Case], Call]] = {
    function.__name__.replace("_", " "): function
    for function in (
        copy, op_python, op_torch, op_onnxruntime, separable_onnxruntime, square_onnxruntime, separable_openvino,
        square_openvino, eager_torch, compiled_torch, separable_newer_onnxruntime, square_newer_onnxruntime,
    )
}  # fmt: skip
"""By name. The first is the floor, the second what the others are compared with."""
ONCE = frozenset({"square newer onnxruntime"})
"""Those that take minutes: one call in all, not warmed up."""


def model(case: Case) -> onnx.ModelProto:
    """One node of ours, with its body."""
    node = helper.make_node(
        lowering.NAME, ["x", "min_std"], ["z"], domain=lowering.DOMAIN, windows=list(case.windows), magnitude=1
    )
    shape = [1, case.channels, case.height, case.width]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
        for name, sizes in (("x", shape), ("min_std", shape[1:2]), ("z", [1, len(case.windows) + 1, *shape[1:]]))
    ]
    return helper.make_model(
        helper.make_graph([node], "zpool2d", values[:2], values[2:]),
        functions=[lowering.function(windows=case.windows, magnitude=1)],
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(lowering.DOMAIN, 1)],
        ir_version=10,
    )


def inlined(case: Case) -> onnx.ModelProto:
    """Standard operators only."""
    return inliner.inline_local_functions(model(case))


def squared(separable: onnx.ModelProto) -> onnx.ModelProto:
    """Each pair of average pools, k x 1 and 1 x k, made into one of k x k."""
    columns = {}
    nodes = []
    for node in separable.graph.node:
        settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type != "AveragePool":
            nodes.append(node)
        elif settings["kernel_shape"][1] == 1:
            columns[node.output[0]] = node.input[0]
        else:
            side = settings["kernel_shape"][1]
            square = {"kernel_shape": [side, side], "pads": [side // 2] * 4, "count_include_pad": 0}
            nodes.append(helper.make_node("AveragePool", [columns[node.input[0]]], list(node.output), **square))
    del separable.graph.node[:]
    separable.graph.node.extend(nodes)
    return separable


def newer(older: onnx.ModelProto) -> onnx.ModelProto:
    """The same nodes under a newer opset, in which they mean the same."""
    older.opset_import[0].version = NEWER_OPSET
    return older


def _onnxruntime(case: Case, content: bytes, operators: str | None = None) -> Call:
    from sdk.backends import onnxruntime

    loaded = onnxruntime.runtime()
    options = loaded.SessionOptions()
    options.intra_op_num_threads = case.threads
    if operators:
        options.register_custom_ops_library(operators)
    session = loaded.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = case.inputs()
    return lambda: session.run(["z"], inputs)[0]


def _openvino(case: Case, content: bytes) -> Call:
    from sdk.backends import openvino

    hints = {
        "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": case.threads, "PERFORMANCE_HINT": "LATENCY",
    }  # fmt: skip
    core = openvino.runtime().Core()
    request = core.compile_model(core.read_model(content), "CPU", hints).create_infer_request()
    inputs = case.inputs()
    return lambda: request.infer(inputs)["z"]


def _torch(case: Case, *, is_compiled: bool) -> Call:
    import torch

    from kernels.zpool2d import functional

    torch.set_num_threads(case.threads)
    x, floor = (torch.from_numpy(each) for each in case.inputs().values())

    def scores() -> torch.Tensor:
        return functional.zscores(x, *functional.statistics(x), floor, windows=case.windows)

    function = torch.compile(scores, dynamic=False) if is_compiled else scores

    def call() -> Features:
        with torch.inference_mode():
            return function().numpy()

    return call
