"""Demosaicing inconsistency: regions without the traces of a colour filter array.

Ferrara, Bianchi, De Rosa, Piva, "Image forgery localization via fine-grained analysis of CFA artifacts", IEEE TIFS
2012. In the green channel a pixel that was interpolated is predicted by its four neighbours better than one that was
acquired. The local variance of the prediction error is taken apart for the two halves of the checkerboard; the
logarithm of the ratio of their geometric means in a block (their L(k, l)) is far from 0 where the frame was demosaiced
and near 0 where that was destroyed. Differences: which half was acquired is not assumed but taken from the sign of the
median, blocks overlap, and the likelihood of their mixture of two Gaussians is replaced by a falling function of the
same feature, which orders pixels alike where the two variances are equal.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthesis.sample import Frame

WINDOW = (7, 7)
"""Of the local variance, px."""
BLOCK = (17, 17)
"""Of the geometric means, px."""
NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4
FLOOR = 1e-2
"""Of a variance, squared grey levels."""


def heatmap(frame: Frame) -> NDArray[np.float32]:
    """``1 / (1 + exp(2 L))`` in [0, 1], [H, W]: high where nothing tells the two halves apart."""
    feature = contrast(frame)
    signed = feature * (1 if np.median(feature) >= 0 else -1)
    return np.asarray(1 / (1 + np.exp(2 * np.clip(signed, -30, 30))), np.float32)


def contrast(frame: Frame) -> NDArray[np.float32]:
    """Logarithm of the error's variance on even pixels over that on odd ones, [H, W]."""
    green = frame[..., 1].astype(np.float32)
    error = green - cv2.filter2D(green, -1, NEIGHBOURS, borderType=cv2.BORDER_REFLECT_101)
    y, x = np.ogrid[: len(green), : green.shape[1]]
    even = ((y + x) % 2 == 0).astype(np.float32)
    logs = [np.log(_masked_mean(np.square(error), half, WINDOW) + FLOOR) for half in (even, 1 - even)]
    first, second = (_masked_mean(log, half, BLOCK) for log, half in zip(logs, (even, 1 - even), strict=True))
    return first - second


def _masked_mean(
    values: NDArray[np.float32], weight: NDArray[np.float32], window: tuple[int, int]
) -> NDArray[np.float32]:
    """Mean over the window's pixels of weight 1."""
    return np.asarray(cv2.blur(values * weight, window) / np.maximum(cv2.blur(weight, window), 1e-6), np.float32)
