"""ZPool2D in every way there is: what :mod:`benchmarks.kernels` times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import onnx
from onnx import helper

from benchmarks import operators
from benchmarks.operators import Call, Features, Way, in_onnxruntime, in_openvino, in_torch, portable
from kernels import library
from kernels.zpool2d import lowering, reference

if TYPE_CHECKING:
    from torch import Tensor

JUDGED_CHANNELS = 2
NEWER_OPSET = 22
"""From opset 19 on ONNX Runtime 1.31 computes AveragePool in a generic way, not in the vectorised one of opset 18,
unless channels come in multiples of 16, which it lays out in blocks with AVX-512: its ``nchwc_transformer.cc``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case(operators.Case):
    """Features ``[1, channels, height, width]``."""

    channels: int
    height: int
    width: int
    windows: tuple[int, ...] = (7, 15, 31)
    """px, odd."""

    op: ClassVar[str] = "zpool2d"
    sizes: ClassVar[tuple[str, ...]] = ("64x1080x1920",)

    @classmethod
    def of(cls, size: str, **settings: int | str) -> Self:
        """From channels x height x width."""
        channels, height, width = map(int, size.split("x"))
        return cls(channels=channels, height=height, width=width, **settings)

    @property
    def size(self) -> str:
        """Channels x height x width."""
        return f"{self.channels}x{self.height}x{self.width}"

    @property
    def least_elements(self) -> int:
        """The features, and scores of every window and of the frame."""
        return self.channels * self.height * self.width * (len(self.windows) + 2)

    def drawn(self, generator: np.random.Generator) -> dict[str, Features]:
        """Features of mean 0.5 and deviation 1, [1, C, H, W], and their floor, [C]."""
        x = generator.standard_normal((1, self.channels, self.height, self.width), np.float32)
        x += np.float32(0.5)
        return {"x": x, "min_std": np.full(self.channels, 1e-5, np.float32)}

    def model(self) -> onnx.ModelProto:
        """One node of ours."""
        body = lowering.function(windows=self.windows, magnitude=1)
        frame = (self.channels, self.height, self.width)
        inputs = {"x": (1, *frame), "min_std": (self.channels,)}
        outputs = {"z": (1, len(self.windows) + 1, *frame)}
        return operators.graph(body, inputs, outputs, windows=list(self.windows), magnitude=1)

    def error(self, outputs: Sequence[Features]) -> float:
        """Of the first channels."""
        x, min_std = self.inputs().values()
        few = slice(None, JUDGED_CHANNELS)
        truth = reference.zpool2d(x[:, few].astype(np.float64), min_std[few].astype(np.float64), self.windows)
        return float(np.abs(outputs[0][:, :, few] - truth).max())


def copy(case: Case) -> Call:
    """As many bytes as have to be read and written, by torch's copy: half of them in, half of them out."""
    import torch

    torch.set_num_threads(case.threads)
    source = torch.zeros(case.least_bytes // 8, device=case.device)
    target = torch.empty_like(source).fill_(1)

    def call() -> None:
        target.copy_(source)

    return call


def op_onnxruntime(case: Case) -> Call:
    """The native operator in ONNX Runtime, in the threads of its session."""
    _native()
    return in_onnxruntime(case, case.model(), operators=library.path())


def op_python(case: Case) -> Call:
    """The native operator on NumPy arrays, into an array that is there."""
    module, inputs = _native(), case.inputs()
    z = np.zeros((1, len(case.windows) + 1, *inputs["x"].shape[1:]), np.float32)

    def call() -> list[Features]:
        module.zpool2d(*inputs.values(), case.windows, magnitude=True, out=z, threads=case.threads)
        return [z]

    return call


def op_torch(case: Case) -> Call:
    """The native operator as torch's."""
    from kernels.zpool2d import torch_op

    _native()
    return in_torch(case, lambda x, floor: torch_op.zpool2d(x, floor, list(case.windows), magnitude=True))


def cuda_torch(case: Case) -> Call:
    """Our CUDA kernels on torch's tensors."""
    from kernels.zpool2d import torch_cuda

    kernels = operators.cuda_kernels()
    return in_torch(case, lambda x, floor: torch_cuda.zpool2d(kernels, x, floor, windows=case.windows))


def composed_torch(case: Case, *, is_compiled: bool = False) -> Call:
    """The torch form, whose windows are separable too."""
    from kernels.zpool2d import functional

    def scores(x: Tensor, floor: Tensor) -> Tensor:
        return functional.zscores(x, *functional.statistics(x), floor.float(), windows=case.windows)

    return in_torch(case, scores, is_compiled=is_compiled)


def squared(separable: onnx.ModelProto) -> onnx.ModelProto:
    """Each pair of average pools, k x 1 and 1 x k, made into one of k x k, as they are usually exported."""
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


def _native() -> ModuleType:
    module = library.native()
    if module is None:
        raise RuntimeError(library.reason_against())
    return module


CONTENDERS: Mapping[str, Mapping[str, Way]] = {
    "cpu": {
        "copy": copy,
        "op onnxruntime": op_onnxruntime,
        "op python": op_python,
        "op torch": op_torch,
        "separable onnxruntime": lambda case: in_onnxruntime(case, portable(case)),
        "square onnxruntime": lambda case: in_onnxruntime(case, squared(portable(case))),
        "separable openvino": lambda case: in_openvino(case, portable(case)),
        "square openvino": lambda case: in_openvino(case, squared(portable(case))),
        "eager torch": composed_torch,
        "compiled torch": lambda case: composed_torch(case, is_compiled=True),
        "separable newer onnxruntime": lambda case: in_onnxruntime(case, newer(portable(case))),
        "square newer onnxruntime": lambda case: in_onnxruntime(case, newer(squared(portable(case)))),
    },
    "cuda": {
        "copy": copy,
        "op torch": cuda_torch,
        "op onnxruntime": operators.with_cuda_kernels,
        "separable onnxruntime": lambda case: in_onnxruntime(case, portable(case)),
        "eager torch": composed_torch,
        "compiled torch": lambda case: composed_torch(case, is_compiled=True),
    },
}
"""By device and name. The first is the floor, the second what the others are compared with."""
