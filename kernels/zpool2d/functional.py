"""``zpool2d`` in torch, differentiable; one ``forensics::ZPool2D`` node when exported to ONNX."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kernels.zpool2d import torch_op

WINDOWS = (7, 15, 31)
"""Sides of the windows in the published weights, px; the whole frame always follows them."""

TINY = 1e-30
"""A variance that no feature of float32 has unless it is constant."""


def zpool2d(
    x: Tensor,  # [N, C, H, W]
    min_std: Tensor,  # [C], above 0
    windows: tuple[int, ...] = WINDOWS,  # px, odd
    *,
    magnitude: bool = True,
) -> Tensor:  # [N, len(windows) + 1, C, H, W]
    """:func:`.reference.zpool2d`; statistics and differences in float32 or wider, the result in the type of ``x``.

    Raises ValueError where a window is even or below 1.
    """
    check_windows(windows)
    if torch.onnx.is_in_onnx_export():
        return _node(x, min_std, windows, magnitude=magnitude)
    if torch_op.serves(x, min_std, windows):
        # Through torch, so that what records operators records this one and not its result.
        return torch.ops.forensics.zpool2d(x, min_std, list(windows), magnitude=magnitude)
    return zscores(x, *statistics(x), min_std, windows=windows, magnitude=magnitude)


def statistics(
    x: Tensor,  # [N, C, H, W]
) -> tuple[Tensor, Tensor]:  # [N, C] each
    """Mean and variance of every channel over the frame, float32 or wider."""
    wide = x.to(_wide(x))
    mean = _frame_mean(wide)
    return mean, _frame_mean((wide - mean[:, :, None, None]).square())


def zscores(
    x: Tensor,  # [N, C, H, W]
    mean: Tensor,  # [N, C]
    variance: Tensor,  # [N, C]
    min_std: Tensor,  # [C]
    *,
    windows: tuple[int, ...] = WINDOWS,
    magnitude: bool = True,
) -> Tensor:  # [N, len(windows) + 1, C, H, W]
    """:func:`zpool2d` with the frame's statistics given: what a tile of a larger frame needs.

    Differences are taken from the frame's mean first: window means of what is left round less.
    """
    centred = x.to(_wide(x)) - mean[:, :, None, None]
    # Kept from zero below the root too, or a constant channel has an infinite slope times zero.
    std = torch.maximum(variance.clamp(min=TINY).sqrt(), min_std.to(centred.dtype))[:, None, :, None, None]
    differences = [*(centred - window_mean(centred, window) for window in windows), centred]
    z = torch.stack(differences, dim=1) / std
    return (z.abs() if magnitude else z).to(x.dtype)


def window_mean(
    x: Tensor,  # [N, C, H, W]
    window: int,  # px, odd
) -> Tensor:  # [N, C, H, W]
    """:func:`.reference.window_mean`: what a frame leaves of a window is a rectangle, so one axis after the other."""
    half = window // 2
    x = F.avg_pool2d(x, (window, 1), 1, (half, 0), count_include_pad=False)
    return F.avg_pool2d(x, (1, window), 1, (0, half), count_include_pad=False)


def check_windows(windows: tuple[int, ...]) -> None:
    """Raise ValueError where a window has no middle pixel."""
    if any(window < 1 or window % 2 == 0 for window in windows):
        raise ValueError(f"windows are {windows} px\n  -> use odd sides, {WINDOWS} in the published weights")


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _frame_mean(x: Tensor) -> Tensor:
    """Rows first: two short sums round less than a long one."""
    return x.mean(3).mean(2)


def _node(x: Tensor, min_std: Tensor, windows: tuple[int, ...], *, magnitude: bool) -> Tensor:
    return torch.onnx.ops.symbolic(
        "forensics::ZPool2D",
        (x, min_std),
        attrs={"windows": list(windows), "magnitude": int(magnitude)},
        dtype=x.dtype,
        shape=(x.shape[0], len(windows) + 1, *x.shape[1:]),
        version=1,
    )
