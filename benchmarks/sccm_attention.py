"""SCCM attention on the CPU, every way there is: what :mod:`benchmarks.kernels` times.

Each function of :data:`CONTENDERS` prepares one way and returns a call on the features that were given. There is no
native operator for the CPU: the library's matrix products are faster than one of ours was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, inliner, parser

from benchmarks.zpool2d import as_stored
from kernels.sccm_attention import lowering, reference

Features = NDArray[np.float32]
Outputs = tuple[Features, Features]
Call = Callable[[], Outputs | None]
SEED = 1
NAMES = ("theta", "phi", "g")
JUDGED_POSITIONS = 32
"""Positions of the first item whose products are compared with the reference: float64 takes its time."""
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
class Case:
    """The work."""

    batch: int
    channels: int
    positions: int
    threads: int
    device: str = "cpu"
    """Or cuda."""
    dtype: str = "float32"
    """Of all arrays; on a GPU also float16 or bfloat16."""

    op: ClassVar[str] = "sccm_attention"

    @property
    def least_bytes(self) -> int:
        """Three arrays read once, two written once: what no implementation can do without."""
        return (4 if self.dtype == "float32" else 2) * 5 * self.batch * self.channels * self.positions

    @property
    def least_flop(self) -> int:
        """Of the four matrix products, a multiplication and an addition counted as two."""
        return 4 * self.batch * self.channels * self.positions * (self.positions + self.channels)

    def inputs(self) -> dict[str, Features]:
        """theta, phi and g, [B, C', N], with logits of deviation 1."""
        generator = np.random.default_rng(SEED)
        shape = (self.batch, self.channels, self.positions)
        drawn = {name: generator.standard_normal(shape, np.float32) for name in NAMES}
        for name in NAMES[:2]:
            drawn[name] *= np.float32(self.channels**-0.25)
        return {name: as_stored(array, self.dtype) for name, array in drawn.items()}


def error(outputs: Sequence[Features], case: Case) -> float:
    """Largest difference of both products at the first positions from the reference."""
    theta, phi, g = (array[:1].astype(np.float64) for array in case.inputs().values())
    few = slice(None, JUDGED_POSITIONS)
    spatial = reference.softmax(theta[:, :, few].transpose(0, 2, 1) @ phi) @ g.transpose(0, 2, 1)
    channel = g[:, :, few].transpose(0, 2, 1) @ reference.softmax(theta @ phi.transpose(0, 2, 1))
    pairs = zip(outputs, (spatial, channel), strict=True)
    return max(float(np.abs(found[:1, few] - truth).max()) for found, truth in pairs)


def products(case: Case) -> Call:
    """As many multiplications as have to be, by torch's matrix products, without a softmax between."""
    import torch

    torch.set_num_threads(case.threads)
    theta, phi, g = (torch.from_numpy(array) for array in case.inputs().values())

    def call() -> None:
        with torch.inference_mode():
            torch.matmul(torch.matmul(theta.mT, phi), g.mT)
            torch.matmul(g.mT, torch.matmul(theta, phi.mT))

    return call


def lowering_onnxruntime(case: Case) -> Call:
    """The portable body, queries in blocks."""
    return _onnxruntime(case, inlined(case).SerializeToString())


def whole_onnxruntime(case: Case) -> Call:
    """The same without blocks, as it is usually exported: the logits of all positions lie in memory at once."""
    return _onnxruntime(case, parser.parse_model(_WHOLE).SerializeToString())


def lowering_openvino(case: Case) -> Call:
    """The portable body, queries in blocks."""
    return _openvino(case, inlined(case).SerializeToString())


def whole_openvino(case: Case) -> Call:
    """The same without blocks."""
    return _openvino(case, parser.parse_model(_WHOLE).SerializeToString())


def eager_torch(case: Case) -> Call:
    """The torch form, queries in blocks."""
    return _torch(case, is_compiled=False)


def compiled_torch(case: Case) -> Call:
    """The same through torch.compile, for this size alone."""
    return _torch(case, is_compiled=True)


def attention_torch(case: Case) -> Call:
    """The attention that torch has for the spatial branch, matrix products for the other."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(case.threads)
    theta, phi, g = (torch.from_numpy(array) for array in case.inputs().values())

    def call() -> Outputs:
        with torch.inference_mode():
            spatial = F.scaled_dot_product_attention(theta.mT[:, None], phi.mT[:, None], g.mT[:, None], scale=1.0)
            channel = g.mT @ torch.softmax(theta @ phi.mT, dim=-1)
            return spatial[:, 0].numpy(), channel.numpy()

    return call


CONTENDERS: dict[str, Callable[[Case], Call]] = {
    function.__name__.replace("_", " "): function
    for function in (
        products, lowering_onnxruntime, whole_onnxruntime, lowering_openvino, whole_openvino, eager_torch,
        compiled_torch, attention_torch,
    )
}  # fmt: skip
"""By name. The first is the floor, the second what the others are compared with."""
ONCE: frozenset[str] = frozenset()
"""None takes minutes."""


def model(case: Case) -> onnx.ModelProto:
    """One node of ours, with its body."""
    size, turned = ([case.batch, *sizes] for sizes in _sizes(case))
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name in NAMES]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, turned) for name in ("spatial", "channel")]
    node = helper.make_node(lowering.NAME, list(NAMES), ["spatial", "channel"], domain=lowering.DOMAIN)
    return helper.make_model(
        helper.make_graph([node], "sccm_attention", inputs, outputs),
        functions=[lowering.function()],
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(lowering.DOMAIN, 1)],
        ir_version=10,
    )


def inlined(case: Case) -> onnx.ModelProto:
    """Standard operators only."""
    return inliner.inline_local_functions(model(case))


def _sizes(case: Case) -> tuple[list[int], list[int]]:
    return [case.channels, case.positions], [case.positions, case.channels]


def _onnxruntime(case: Case, content: bytes) -> Call:
    from sdk.backends import onnxruntime

    loaded = onnxruntime.runtime()
    options = loaded.SessionOptions()
    options.intra_op_num_threads = case.threads
    session = loaded.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = case.inputs()
    return lambda: tuple(session.run(["spatial", "channel"], inputs))


def _openvino(case: Case, content: bytes) -> Call:
    from sdk.backends import openvino

    hints = {
        "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": case.threads, "PERFORMANCE_HINT": "LATENCY",
    }  # fmt: skip
    core = openvino.runtime().Core()
    request = core.compile_model(core.read_model(content), "CPU", hints).create_infer_request()
    inputs = case.inputs()

    def call() -> Outputs:
        found = request.infer(inputs)
        return found["spatial"], found["channel"]

    return call


def _torch(case: Case, *, is_compiled: bool) -> Call:
    import torch

    from kernels.sccm_attention import functional

    torch.set_num_threads(case.threads)
    inputs = [torch.from_numpy(array) for array in case.inputs().values()]
    function = torch.compile(functional.sccm_attention, dynamic=False) if is_compiled else functional.sccm_attention

    def call() -> Outputs:
        with torch.inference_mode():
            spatial, channel = function(*inputs)
            return spatial.numpy(), channel.numpy()

    return call
