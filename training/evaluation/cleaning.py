"""What GSR-Net does to a prediction before it is scored: dilate it, and drop what is small.

Zhou et al., "Generate, Segment, and Refine", AAAI 2020, section 4.1: "we simply dilate and threshold connected
components to remove small noisy particles". As figures cut a heatmap at many levels, this is done to the heatmap so
that it holds at each of them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LEVELS = 255
"""Levels above 0 that a cleaned heatmap has."""


def cleaned(
    heatmap: NDArray[np.float32],  # [H, W] in [0, 1]
    *,
    dilation: int,  # side of a square, px, odd; 1 leaves it out
    smallest: float,  # share of the frame
) -> NDArray[np.float32]:  # [H, W], multiples of 1 / LEVELS
    """The heatmap of which any cut is the cut of ``heatmap``, dilated, without components below ``smallest``.

    The dilation is the largest value in the square around a pixel; what remains is an area opening with 8 neighbours.
    """
    rounded = np.floor(heatmap * LEVELS + 0.5).astype(np.uint8)
    grown = cv2.dilate(rounded, np.ones((dilation, dilation), np.uint8))
    kept = np.zeros_like(grown)
    alive = np.ones(grown.shape, np.bool_)
    for level in np.unique(grown[grown > 0]):
        alive &= grown >= level
        _, labels, stats, _ = cv2.connectedComponentsWithStats(alive.view(np.uint8), connectivity=8)
        large = stats[:, cv2.CC_STAT_AREA] >= smallest * grown.size
        alive &= large[labels]
        if not alive.any():
            break
        kept[alive] = level
    return kept.astype(np.float32) / LEVELS
