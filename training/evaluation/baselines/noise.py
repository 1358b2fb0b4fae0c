"""Noise inconsistency: regions whose noise is not that of the frame.

Mahdian, Saic, "Using noise inconsistencies for blind image forensics", Image and Vision Computing 2009 (NOI in
Zampoglou et al.'s comparison, Multimedia Tools and Applications 2017): the diagonal subband of the first wavelet level
is cut into blocks, and the noise of each is the median of the absolute values over 0.6745. Differences: Haar instead of
the 8-tap Daubechies wavelet, overlapping blocks instead of tiles, and no merging of blocks into regions: the distance
of the noise's logarithm from the frame's median is the answer.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthesis.sample import Frame

BLOCK = 15
"""Side of a block in the subband, px; twice that in the frame."""
FLOOR = 0.25
"""Noise below this many grey levels is rounding."""


def heatmap(frame: Frame) -> NDArray[np.float32]:
    """``d / (d + 1)`` in [0, 1), [H, W], d being the distance in natural logarithms."""
    distance = np.abs(np.log(level := noise(frame)) - np.log(np.median(level)))
    height, width = frame.shape[:2]
    return np.asarray(cv2.resize(distance / (distance + 1), (width, height)), np.float32)


def noise(frame: Frame) -> NDArray[np.float32]:
    """Standard deviation of the noise in grey levels, [H/2, W/2], at least ``FLOOR``."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    rows, columns = (max(extent // 2, 1) * 2 for extent in grey.shape)
    grey = cv2.copyMakeBorder(
        grey, 0, max(rows - len(grey), 0), 0, max(columns - grey.shape[1], 0), cv2.BORDER_REPLICATE
    )[:rows, :columns]
    twice = np.abs(grey[::2, ::2] - grey[::2, 1::2] - grey[1::2, ::2] + grey[1::2, 1::2])  # of the coefficient; whole
    median = cv2.medianBlur(np.minimum(twice, 255).astype(np.uint8), BLOCK)
    return np.maximum(median.astype(np.float32) / 2 / 0.6745, FLOOR)
