"""Bilinear sampling with aligned corners, as separable gathers whose coordinates are exact integers.

Position k of ``grid`` lies at ``k (size - 1) / (grid - 1)``: its whole part and remainder come from int64 division and
only the weight is cast, so the same graph is exact in bf16.
"""

from __future__ import annotations

import torch
from torch import Tensor

Shape = tuple[int, int]


def neighbours(size: int, grid: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixels around each of ``grid`` positions.

    Their indices, int64 [2 grid] as low, high, low, high ..., and the weight of each high one, float32 [grid].
    """
    scaled = torch.arange(grid, dtype=torch.int64, device=device) * (size - 1)
    low = scaled // (grid - 1)
    high = torch.clamp(low + 1, max=size - 1)
    weight = (scaled - low * (grid - 1)).to(torch.float32) / (grid - 1)
    return torch.stack([low, high], dim=1).flatten(), weight


def pick(
    x: Tensor,  # [N, C, H, W]
    grid: int,
) -> Tensor:  # [N, C, 2 grid, 2 grid]
    """Values of ``x`` at the neighbours of every grid position."""
    for axis in (2, 3):
        index, _ = neighbours(x.shape[axis], grid, x.device)
        x = x.index_select(axis, index)
    return x


def pick_resized(
    x: Tensor,  # [N, C, h, w]
    shape: Shape,  # H, W of the finer map
    grid: int,
) -> Tensor:  # [N, C, 2 grid, 2 grid]
    """:func:`pick` from ``x`` resized to ``shape`` with aligned corners, without making the resized map."""
    for axis, size in zip((2, 3), shape, strict=True):
        index, _ = neighbours(size, grid, x.device)
        own, last = x.shape[axis], torch.sym_max(size - 1, 1)
        low = index * (own - 1) // last
        high = torch.clamp(low + 1, max=own - 1)
        weight = (index * (own - 1) - low * last).to(torch.float32) / last
        weight = weight.to(x.dtype)[:, None] if axis == 2 else weight.to(x.dtype)
        below, above = x.index_select(axis, low), x.index_select(axis, high)
        x = below + (above - below) * weight
    return x


def lerp(
    x: Tensor,  # [N, C, 2 grid, 2 grid], from pick
    shape: Shape,
    grid: int,
) -> Tensor:  # [N, C, grid, grid]
    """Blend the 2x2 neighbours of every grid position: a matrix product per axis.

    Products, because OpenVINO keeps whatever lies between its last matrix product or convolution and an output in f32:
    with elementwise blends at the end, that would be the residual path of the whole network.
    """
    down, across = (_blend(neighbours(size, grid, x.device)[1]).to(x.dtype) for size in shape)
    return down @ x @ across.T


def _blend(weight: Tensor) -> Tensor:
    """Matrix [grid, 2 grid]: row k weighs the low neighbour with ``1 - weight[k]``, the high one with ``weight[k]``."""
    each = torch.eye(len(weight), device=weight.device)
    return torch.stack([each * (1 - weight), each * weight], dim=2).flatten(1)
