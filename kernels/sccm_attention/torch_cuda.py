"""``SCCMAttention`` on torch tensors through the CUDA launcher; without gradients."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from kernels import torch_stream
from kernels.sccm_attention.cuda import Work


def sccm_attention(
    library: ctypes.CDLL,  # kernels.cuda_library.cuda(), or a build for the CPU and tensors in main memory
    theta: Tensor,  # [B, C', N] float32, float16 or bfloat16
    phi: Tensor,  # [B, C', N]
    g: Tensor,  # [B, C', N]
) -> tuple[Tensor, Tensor]:  # [B, N, C'] each: spatial, channel
    """:func:`.reference.sccm_attention` on the current stream.

    Raises ValueError with the reason where it is not offered, and where the kernel would read beyond an array.
    """
    check_arrays(theta, phi, g)
    b, d, n = theta.shape
    work = Work(shape=(b, d, n), dtype=str(theta.dtype).removeprefix("torch."))
    reason = work.reason_against(library)
    if reason:
        raise ValueError(
            f"SCCMAttention has no kernel for this: {reason}\n  -> kernels.sccm_attention.functional.sccm_attention"
        )
    inputs = [each.detach().contiguous() for each in (theta, phi, g)]
    spatial, channel = (theta.new_empty((b, n, d)) for _ in range(2))
    with torch_stream.current(theta) as stream:
        workspace = theta.new_empty(work.workspace_bytes(library), dtype=torch.uint8)
        addresses = [tensor.data_ptr() for tensor in (*inputs, spatial, channel)]
        work.launch(library, addresses, workspace=workspace.data_ptr(), stream=stream)
    return spatial, channel


def check_arrays(theta: Tensor, phi: Tensor, g: Tensor) -> None:
    """Raise ValueError unless they fit together."""
    kinds = {(each.shape, each.dtype, each.device) for each in (theta, phi, g)}
    if theta.dim() != 3 or len(kinds) > 1:
        shapes = ", ".join(f"{list(each.shape)} of {each.dtype} on {each.device}" for each in (theta, phi, g))
        raise ValueError(f"theta, phi and g are {shapes}\n  -> give [B, C', N] of one type on one device")
