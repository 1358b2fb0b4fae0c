"""The meaning of ``zpool2d`` in float64 NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]


def window_mean(
    x: Features,  # [N, C, H, W]
    window: int,  # px, odd
) -> Features:  # [N, C, H, W]
    """Mean over the part of the centred ``window`` x ``window`` that lies in the frame.

    An integral image over an integral count, as the authors compute it: pixels outside neither add nor count, so a
    window that covers the frame gives the frame's mean. In float64 only: in float32 the integral of a 1080p frame is
    too long a sum.
    """
    totals = x
    for axis in (2, 3):
        size, half = x.shape[axis], window // 2
        edges = np.concatenate([np.zeros_like(totals.take([0], axis)), totals.cumsum(axis)], axis)
        start = np.clip(np.arange(size) - half, 0, size)
        end = np.clip(np.arange(size) + half + 1, 0, size)
        count = np.expand_dims(end - start, tuple(range(1, 4 - axis)))
        totals = (edges.take(end, axis) - edges.take(start, axis)) / count
    return np.asarray(totals)


def zpool2d(
    x: Features,  # [N, C, H, W]
    min_std: Features,  # [C], above 0
    windows: tuple[int, ...] = (7, 15, 31),  # px, odd
    *,
    magnitude: bool = True,
) -> Features:  # [N, len(windows) + 1, C, H, W]
    """Z-score of every feature against its window means and the frame's mean.

    For window k and channel c, with all statistics taken over the frame's own pixels (a window is cut at the border,
    never padded) and the deviation over the whole frame for every window,

        z_k[c] = (x[c] - mean_k(x[c])) / max(std(x[c]), min_std[c])

    and the last slice of axis 1 uses the whole frame as its window. Dimensionless; ``magnitude`` takes the absolute
    value. The deviation is the population's: a sum over H W, not H W - 1.

    Source: Wu, AbdAlmageed, Natarajan, "ManTra-Net", CVPR 2019, equations 1 to 7, and the authors' code. Their floor
    is ``min_std + 1e-6`` with ``min_std`` learned; ours is that sum, made by the caller. They take the absolute value
    (of the mean minus x, which is the same), the paper does not.
    """
    mean = x.mean(axis=(2, 3), keepdims=True)
    std = np.maximum(x.std(axis=(2, 3), keepdims=True), min_std[:, None, None])
    means = [*(window_mean(x, window) for window in windows), np.broadcast_to(mean, x.shape)]
    z = np.stack([(x - each) / std for each in means], axis=1)
    return np.asarray(np.abs(z) if magnitude else z)
