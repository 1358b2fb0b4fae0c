"""SCCM attention on a GPU, every way there is: what :mod:`benchmarks.kernels` times with ``--device cuda``.

Each function of :data:`CONTENDERS` prepares one way and returns a call on features that lie on the device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.on_device import kernels, on_device, session_on_device
from benchmarks.sccm_attention import Case, error, inlined, model
from kernels.sccm_attention import functional, torch_cuda

__all__ = ["CONTENDERS", "ONCE", "error"]

Call = Callable[[], object]


def products(case: Case) -> Call:
    """As many multiplications as have to be, by cuBLAS, without a softmax between."""
    theta, phi, g = on_device(case)

    def call() -> None:
        with torch.inference_mode():
            torch.matmul(torch.matmul(theta.mT, phi), g.mT)
            torch.matmul(g.mT, torch.matmul(theta, phi.mT))

    return call


def op_torch(case: Case) -> Call:
    """Our kernels on torch's tensors."""
    library = kernels()
    inputs = on_device(case)
    return lambda: torch_cuda.sccm_attention(library, *inputs)


def op_onnxruntime(case: Case) -> Call:
    """Our kernels in ONNX Runtime, float32."""
    return session_on_device(case, model(case), with_kernels=True)


def lowering_onnxruntime(case: Case) -> Call:
    """The portable body in ONNX Runtime, float32."""
    return session_on_device(case, inlined(case), with_kernels=False)


def whole_torch(case: Case) -> Call:
    """Products by cuBLAS and a softmax in the arrays' own type, the logits of all positions in memory at once."""
    theta, phi, g = on_device(case)

    def call() -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            spatial = torch.softmax(theta.mT @ phi, dim=-1) @ g.mT
            return spatial, g.mT @ torch.softmax(theta @ phi.mT, dim=-1)

    return call


def attention_torch(case: Case) -> Call:
    """The attention that torch has for the spatial branch, matrix products for the other."""
    theta, phi, g = on_device(case)

    def call() -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            spatial = F.scaled_dot_product_attention(theta.mT[:, None], phi.mT[:, None], g.mT[:, None], scale=1.0)
            return spatial[:, 0], g.mT @ torch.softmax(theta @ phi.mT, dim=-1)

    return call


def eager_torch(case: Case) -> Call:
    """The torch form, queries in blocks, logits and softmax in float32."""
    return _composed(case, is_compiled=False)


def compiled_torch(case: Case) -> Call:
    """The same through torch.compile, for this size alone."""
    return _composed(case, is_compiled=True)


CONTENDERS: dict[str, Callable[[Case], Call]] = {
    function.__name__.replace("_", " "): function
    for function in (
        products, op_torch, op_onnxruntime, lowering_onnxruntime, whole_torch, attention_torch, eager_torch,
        compiled_torch,
    )
}  # fmt: skip
"""By name. The first is the floor, the second what the others are compared with."""
ONCE: frozenset[str] = frozenset()
"""None takes minutes."""


def _composed(case: Case, *, is_compiled: bool) -> Call:
    inputs = on_device(case)
    function = torch.compile(functional.sccm_attention, dynamic=False) if is_compiled else functional.sccm_attention

    def call() -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            return function(*inputs)

    return call
