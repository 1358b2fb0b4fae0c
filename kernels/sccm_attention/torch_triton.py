"""``SCCMAttention`` on torch tensors by the Triton kernels, for GPUs of compute capability 9.0; without gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
import triton
from torch import Tensor

from kernels import torch_stream
from kernels.sccm_attention import triton_kernels as kernels
from kernels.sccm_attention.torch_cuda import check_arrays

CAPABILITY = (9, 0)
"""Whose matrix instructions the tiles are cut for. Elsewhere the CUDA kernels are the way."""
DTYPES = (torch.float16, torch.bfloat16)
MOST_ITEMS, MOST_CHANNELS, MOST_POSITIONS = 8192, 288, 1 << 23
"""Of what a grid and the sums in registers have room for."""
FEW_CHANNELS = 192
"""Of as many, padding counted, shared memory has room for 64 keys at once in three stages."""
FEWEST_KEYS = 128
"""A range of fewer is hardly worth its start."""
POSITIONS = 256
"""Over which a part of the channels' logits is summed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiles:
    """How the spatial kernel is cut: for PSCC-Net's 144 and 288 channels what compiles without spilling a register."""

    queries: int = 128
    keys: int
    head: int
    tail: int
    """Channels are taken as ``head`` and ``tail`` of them, each a power of two and at least 16."""
    warps: int = 8
    stages: int = 3

    @classmethod
    def of(cls, channels: int) -> Self:
        """For that many, at most :data:`MOST_CHANNELS`."""
        head = max(16, 1 << (channels.bit_length() - 1))
        tail = max(16, triton.next_power_of_2(channels - head))
        return cls(keys=64 if head + tail <= FEW_CHANNELS else 32, head=head, tail=tail)


def sccm_attention(
    theta: Tensor,  # [B, C', N] float16 or bfloat16
    phi: Tensor,  # [B, C', N]
    g: Tensor,  # [B, C', N]
    *,
    multiprocessors: int | None = None,
) -> tuple[Tensor, Tensor]:  # [B, N, C'] each: spatial, channel
    """:func:`.reference.sccm_attention` on the current stream, for ``multiprocessors`` or those that the device has.

    Raises ValueError with the reason where it is not offered.
    """
    check_arrays(theta, phi, g)
    reason = reason_against(theta)
    if reason:
        raise ValueError(
            f"SCCMAttention has no Triton kernel for this: {reason}\n  -> kernels.sccm_attention.torch_cuda"
        )
    theta, phi, g = (each.detach().contiguous() for each in (theta, phi, g))
    if not theta.numel():
        return theta.new_empty(theta.mT.shape), theta.new_empty(theta.mT.shape)
    count = multiprocessors or torch.cuda.get_device_properties(theta.device).multi_processor_count
    with torch_stream.current(theta):
        return _spatial(theta, phi, g, count), _channel(theta, phi, g)


def reason_against(theta: Tensor) -> str | None:
    """Why the kernels cannot do this; None if they can."""
    if theta.dtype not in DTYPES:
        return f"dtype is {theta.dtype}"
    b, d, n = theta.shape
    for size, most, what in (
        (b, MOST_ITEMS, "items"),
        (d, MOST_CHANNELS, "channels"),
        (n, MOST_POSITIONS, "positions"),
    ):
        if size > most:
            return f"there are more than {most} {what}"
    if d * n >= 1 << 31:
        return "there are 2^31 numbers or more in an item"
    if not theta.is_cuda:
        return None if triton.knobs.runtime.interpret else f"it lies on {theta.device}"
    capability = torch.cuda.get_device_capability(theta.device)
    return None if capability == CAPABILITY else f"the GPU is of compute capability {capability[0]}.{capability[1]}"


def ranges(b: int, n: int, *, queries: int, multiprocessors: int) -> int:
    """Of the keys: as many as give every multiprocessor a block, each of whole :data:`FEWEST_KEYS` but the last."""
    wanted = multiprocessors // (b * -(-n // queries))
    return max(1, min(wanted, -(-n // FEWEST_KEYS)))


def _spatial(theta: Tensor, phi: Tensor, g: Tensor, multiprocessors: int) -> Tensor:
    b, d, n = theta.shape
    tiles = Tiles.of(d)
    wanted = ranges(b, n, queries=tiles.queries, multiprocessors=multiprocessors)
    length = triton.cdiv(triton.cdiv(n, wanted), FEWEST_KEYS) * FEWEST_KEYS
    splits = triton.cdiv(n, length)
    sums = theta.new_empty((splits, b, n, d), dtype=torch.float32)
    tops, totals = (theta.new_empty((splits, b, n), dtype=torch.float32) for _ in range(2))
    spatial = theta.new_empty((b, n, d))
    kernels.spatial[(triton.cdiv(n, tiles.queries), splits, b)](
        theta, phi, g, sums, tops, totals, b, d, n, length,
        queries=tiles.queries, keys=tiles.keys, head=tiles.head, tail=tiles.tail,
        num_warps=tiles.warps, num_stages=tiles.stages,
    )  # fmt: skip
    rows, tile = b * n, 16
    kernels.merge[(triton.cdiv(rows, tile),)](
        sums, tops, totals, spatial, rows, d, splits=splits, tile=tile, width=triton.next_power_of_2(d)
    )
    return spatial


def _channel(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    b, d, n = theta.shape
    parts, tile, width = triton.cdiv(n, POSITIONS), 64, triton.next_power_of_2(d)
    across = triton.cdiv(d, tile)
    logits = theta.new_empty((parts, b, d, d), dtype=torch.float32)
    weights, channel = theta.new_empty((b, d, d)), theta.new_empty((b, n, d))
    kernels.channel_logits[(across * across, parts, b)](
        theta, phi, logits, b, d, n, length=POSITIONS, tile=tile, step=64
    )
    kernels.channel_softmax[(b * d,)](logits, weights, b * d, d, parts=parts, width=width)
    kernels.channel_product[(triton.cdiv(n, tile) * across, b)](g, weights, channel, d, n, tile=tile, step=32)
    return channel
