"""SCCM attention in every way there is: what :mod:`benchmarks.kernels` times.

There is no native operator for the CPU: the library's matrix products are faster than one of ours was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import onnx
from onnx import parser

from benchmarks import operators
from benchmarks.operators import Call, Features, Way, in_onnxruntime, in_openvino, in_torch, portable
from kernels.sccm_attention import lowering, reference

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("theta", "phi", "g")
JUDGED_POSITIONS = 32
_WHOLE = """
<ir_version: 10, opset_import: ["" : 18]>
whole (float[b, d, n] theta, float[b, d, n] phi, float[b, d, n] g) => (float[b, n, d] spatial, float[b, n, d] channel) {
  values = Transpose <perm = [0, 2, 1]> (g)
  queries = Transpose <perm = [0, 2, 1]> (theta)
  logits = MatMul (queries, phi)
  weights = Softmax <axis = -1> (logits)
  spatial = MatMul (weights, values)
  channel_keys = Transpose <perm = [0, 2, 1]> (phi)
  channel_logits = MatMul (theta, channel_keys)
  channel_weights = Softmax <axis = -1> (channel_logits)
  channel = MatMul (values, channel_weights)
}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case(operators.Case):
    """Three arrays ``[batch, channels, positions]``."""

    batch: int = 1
    channels: int
    positions: int

    op: ClassVar[str] = "sccm_attention"
    sizes: ClassVar[tuple[str, ...]] = ("144x1024", "288x1024", "144x4096", "288x4096")
    """Those of PSCC-Net, from its coarsest scale to its finest."""

    @classmethod
    def of(cls, size: str, **settings: int | str) -> Self:
        """From channels x positions."""
        channels, positions = map(int, size.split("x"))
        return cls(channels=channels, positions=positions, **settings)

    @property
    def size(self) -> str:
        """Channels x positions."""
        return f"{self.channels}x{self.positions}"

    @property
    def least_elements(self) -> int:
        """Three arrays read, two written."""
        return 5 * self.batch * self.channels * self.positions

    @property
    def least_flop(self) -> int:
        """Of the four matrix products, a multiplication and an addition counted as two."""
        return 4 * self.batch * self.channels * self.positions * (self.positions + self.channels)

    def drawn(self, generator: np.random.Generator) -> dict[str, Features]:
        """theta, phi and g, [B, C', N], with logits of deviation 1."""
        shape = (self.batch, self.channels, self.positions)
        drawn = {name: generator.standard_normal(shape, np.float32) for name in NAMES}
        for name in NAMES[:2]:
            drawn[name] *= np.float32(self.channels**-0.25)
        return drawn

    def model(self) -> onnx.ModelProto:
        """One node of ours."""
        inputs = dict.fromkeys(NAMES, (self.batch, self.channels, self.positions))
        outputs = dict.fromkeys(("spatial", "channel"), (self.batch, self.positions, self.channels))
        return operators.graph(lowering.function(), inputs, outputs)

    def error(self, outputs: Sequence[Features]) -> float:
        """Of both products, at the first positions of the first item."""
        theta, phi, g = (array[:1].astype(np.float64) for array in self.inputs().values())
        few = slice(None, JUDGED_POSITIONS)
        spatial = reference.softmax(theta[:, :, few].transpose(0, 2, 1) @ phi) @ g.transpose(0, 2, 1)
        channel = g[:, :, few].transpose(0, 2, 1) @ reference.softmax(theta @ phi.transpose(0, 2, 1))
        pairs = zip(outputs, (spatial, channel), strict=True)
        return max(float(np.abs(found[:1, few] - truth).max()) for found, truth in pairs)


def whole() -> onnx.ModelProto:
    """The graph as it is usually exported: the logits of all positions lie in memory at once."""
    return parser.parse_model(_WHOLE)


def products(theta: Tensor, phi: Tensor, g: Tensor) -> None:
    """As many multiplications as have to be, without a softmax between."""
    _ = (theta.mT @ phi) @ g.mT, g.mT @ (theta @ phi.mT)


def whole_torch(theta: Tensor, phi: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Products by the library and a softmax in the arrays' own type, all logits in memory at once."""
    return (theta.mT @ phi).softmax(-1) @ g.mT, _channel(theta, phi, g)


def attention_torch(theta: Tensor, phi: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """The attention that torch has for the spatial branch, matrix products for the other."""
    from torch.nn import functional as F

    spatial = F.scaled_dot_product_attention(theta.mT[:, None], phi.mT[:, None], g.mT[:, None], scale=1.0)
    return spatial[:, 0], _channel(theta, phi, g)


def _channel(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    return g.mT @ (theta @ phi.mT).softmax(-1)


def composed_torch(case: Case, *, is_compiled: bool = False) -> Call:
    """The torch form, queries in blocks, logits and softmax in float32."""
    from kernels.sccm_attention import functional

    return in_torch(case, functional.sccm_attention, is_compiled=is_compiled)


def cuda_torch(case: Case) -> Call:
    """Our CUDA kernels on torch's tensors."""
    from kernels.sccm_attention import torch_cuda

    kernels = operators.cuda_kernels()
    return in_torch(case, lambda *inputs: torch_cuda.sccm_attention(kernels, *inputs))


def triton_torch(case: Case) -> Call:
    """Our Triton kernels on torch's tensors."""
    if find_spec("triton") is None:
        raise RuntimeError("no Triton: pip install triton")
    from kernels.sccm_attention import torch_triton

    return in_torch(case, torch_triton.sccm_attention)


CONTENDERS: Mapping[str, Mapping[str, Way]] = {
    "cpu": {
        "products": lambda case: in_torch(case, products),
        "lowering onnxruntime": lambda case: in_onnxruntime(case, portable(case)),
        "whole onnxruntime": lambda case: in_onnxruntime(case, whole()),
        "lowering openvino": lambda case: in_openvino(case, portable(case)),
        "whole openvino": lambda case: in_openvino(case, whole()),
        "whole torch": lambda case: in_torch(case, whole_torch),
        "attention torch": lambda case: in_torch(case, attention_torch),
        "eager torch": composed_torch,
        "compiled torch": lambda case: composed_torch(case, is_compiled=True),
    },
    "cuda": {
        "products": lambda case: in_torch(case, products),
        "op torch": cuda_torch,
        "triton torch": triton_torch,
        "op onnxruntime": operators.with_cuda_kernels,
        "lowering onnxruntime": lambda case: in_onnxruntime(case, portable(case)),
        "whole torch": lambda case: in_torch(case, whole_torch),
        "attention torch": lambda case: in_torch(case, attention_torch),
        "eager torch": composed_torch,
        "compiled torch": lambda case: composed_torch(case, is_compiled=True),
    },
}
"""By device and name. The first is the floor, the second what the others are compared with."""
