"""``sccm_attention`` in torch, differentiable; one ``forensics::SCCMAttention`` node when exported to ONNX."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from kernels.sccm_attention import torch_op

QUERY_BLOCKS = 4
"""The spatial branch handles its queries in this many blocks, so that memory stays flat. Divides every N there is:
N is (grid / 4)^2 or (grid / 8)^2 and the grid a multiple of 32."""


def sccm_attention(
    theta: Tensor,  # [B, C', N]
    phi: Tensor,  # [B, C', N]
    g: Tensor,  # [B, C', N]
) -> tuple[Tensor, Tensor]:  # [B, N, C'] each: spatial, channel
    """:func:`.reference.sccm_attention`; logits and softmax in float32 whatever the inputs' precision."""
    if torch.onnx.is_in_onnx_export():
        return _node(theta, phi, g)
    if torch_op.serves(theta, phi, g):
        both: tuple[Tensor, Tensor] = torch.ops.forensics.sccm_attention(theta, phi, g)
        return both
    with _full_precision(theta.device.type):
        values = g.transpose(1, 2)
        spatial = [
            _softmax(queries.transpose(1, 2), phi).to(g.dtype) @ values for queries in theta.chunk(QUERY_BLOCKS, dim=2)
        ]
        channel = values @ _softmax(theta, phi.transpose(1, 2)).to(g.dtype)
    return torch.cat(spatial, dim=1), channel


def _full_precision(device: str) -> AbstractContextManager[object]:
    """Autocast off where a device has it: the meta device, on which work is counted, has none."""
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def _softmax(queries: Tensor, keys: Tensor) -> Tensor:
    """Unscaled logits reach hundreds in PSCC-Net: float16 would overflow, bfloat16 would round them to integers."""
    return torch.softmax(queries.float() @ keys.float(), dim=-1)


def _node(theta: Tensor, phi: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    batch, channels, positions = theta.shape
    spatial, channel = torch.onnx.ops.symbolic_multi_out(
        "forensics::SCCMAttention",
        (theta, phi, g),
        dtypes=(g.dtype, g.dtype),
        shapes=((batch, positions, channels), (batch, positions, channels)),
        version=1,
    )
    return spatial, channel
