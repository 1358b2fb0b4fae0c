"""The meaning of ``area_shrink`` in float64 NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def working_shape(height: int, width: int, working_size: int) -> tuple[int, int]:
    """Height and width, px, once the long side is at most ``working_size`` (0: no limit).

    Rounded half up, at least 1.
    """
    long_side = max(height, width)
    working_size = min(working_size or long_side, long_side)
    rows, columns = (max(1, (2 * side * working_size + long_side) // (2 * long_side)) for side in (height, width))
    return rows, columns


def area_weights(
    size: int,
    target: int,
) -> NDArray[np.float64]:  # [target, size]
    """Rows that average ``size`` samples over ``target`` equal intervals; every row sums to 1.

    Row ``i`` covers ``[i size / target, (i + 1) size / target)``; an entry is the overlap of that interval with one
    sample, over the interval's length. Both are kept as integers, scaled by ``target``, until the division.
    """
    start = np.arange(target, dtype=np.int64)[:, None] * size
    sample = np.arange(size, dtype=np.int64)[None, :] * target
    overlap = np.minimum(start + size, sample + target) - np.maximum(start, sample)
    return np.asarray(np.maximum(overlap, 0) / size)


def area_shrink(
    frame: NDArray[np.uint8],  # [N, H, W, 3]
    working_size: int,  # px; 0 or above the long side: as it is
) -> NDArray[np.float64]:  # [N, h, w, 3], 0..255
    """Average ``frame`` over equal areas so that its long side is at most ``working_size`` px."""
    rows, columns = working_shape(frame.shape[1], frame.shape[2], working_size)
    down = area_weights(frame.shape[1], rows)
    across = area_weights(frame.shape[2], columns)
    return np.asarray(np.einsum("ih,nhwc,jw->nijc", down, frame.astype(np.float64), across, optimize=True))
