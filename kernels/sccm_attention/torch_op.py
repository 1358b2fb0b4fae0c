"""``sccm_attention`` by the CUDA kernels as an operator of torch, without gradients, for exported programs to call.

There is none for the CPU, where torch's own matrix products are the faster way.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels import cuda_library, torch_nodes
from kernels.sccm_attention import cuda, torch_cuda

NAME = "forensics::sccm_attention"


def serves(theta: Tensor, phi: Tensor, g: Tensor) -> bool:
    """Whether a program is exported here and now that is to call the kernels, and they take these inputs' type."""
    if not torch_nodes.are_called() or theta.device.type != "cuda" or "sccm_attention" not in cuda_library.offered():
        return False
    return theta.dtype == phi.dtype == g.dtype and str(theta.dtype).removeprefix("torch.") in cuda.DTYPES


def sccm_attention(
    theta: Tensor,  # [B, C', N] float32, float16 or bfloat16
    phi: Tensor,  # [B, C', N]
    g: Tensor,  # [B, C', N]
) -> tuple[Tensor, Tensor]:  # [B, N, C'] each: spatial, channel
    """:func:`.torch_cuda.sccm_attention` with the library that is here."""
    loaded = cuda_library.cuda()
    if loaded is None:
        raise ValueError(f"{NAME} is not available: {cuda_library.reason_against()}\n  -> python -m kernels cuda")
    return torch_cuda.sccm_attention(loaded, theta, phi, g)


def _empty(theta: Tensor, phi: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    del phi, g
    b, d, n = theta.shape
    return theta.new_empty((b, n, d)), theta.new_empty((b, n, d))


def _register() -> None:
    operator = torch.library.custom_op(NAME, sccm_attention, mutates_args=(), device_types="cuda")
    operator.register_fake(_empty)


_register()
