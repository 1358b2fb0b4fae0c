"""``area_shrink`` in torch: the same two matrix products as the reference."""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.area_shrink.reference import working_shape

__all__ = ["area_shrink", "working_shape"]


def area_weights(
    size: int,
    target: int,
    device: torch.device | None = None,
) -> Tensor:  # float32 [target, size]
    """:func:`.reference.area_weights`, made on ``device``; coordinates in int64, cast last."""
    start = torch.arange(target, dtype=torch.int64, device=device)[:, None] * size
    sample = torch.arange(size, dtype=torch.int64, device=device)[None, :] * target
    overlap = torch.minimum(start + size, sample + target) - torch.maximum(start, sample)
    return overlap.clamp(min=0).to(torch.float32) / size


def area_shrink(
    frame: Tensor,  # uint8 [N, H, W, 3]
    working_size: int,  # px; 0 or above the long side: as it is
) -> Tensor:  # float32 [N, h, w, 3], 0..255
    """:func:`.reference.area_shrink`, down first: both products then have long rows."""
    height, width = frame.shape[1:3]
    rows, columns = working_shape(height, width, working_size)
    # Made where the frame is: what a CUDA graph captures copies nothing from the host.
    down = area_weights(height, rows, frame.device)
    across = area_weights(width, columns, frame.device)
    short = torch.matmul(down, frame.to(torch.float32).flatten(2)).unflatten(2, (width, 3))
    return torch.matmul(short.transpose(2, 3), across.T).transpose(2, 3)
