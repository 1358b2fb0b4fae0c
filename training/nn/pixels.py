"""The one definition of what happens to pixels before a network sees them."""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.area_shrink.functional import area_shrink, working_shape

__all__ = ["area_shrink", "levels", "unit_range", "working_shape"]


def unit_range(
    pixels: Tensor,  # [N, H, W, C], 0..255
    dtype: torch.dtype,
) -> Tensor:  # [N, C, H, W], 0..1
    """Scale to [0, 1] without mean or deviation, as PSCC-Net was trained; channels first."""
    return levels(pixels, dtype) / 255


def levels(pixels: Tensor, dtype: torch.dtype) -> Tensor:  # [N, H, W, C] -> [N, C, H, W]
    """As they are, in another order and type."""
    return pixels.permute(0, 3, 1, 2).to(dtype)
