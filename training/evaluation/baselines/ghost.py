"""JPEG ghost: regions that were once compressed at another quality than the rest.

Farid, "Exposing digital forgeries from JPEG ghosts", IEEE TIFS 2009. The frame is compressed at many qualities; the
squared difference, averaged over 16x16 px (equation 3), has a local minimum, the ghost, at the quality of an earlier
compression. Differences: only luminance is compressed, so that chroma subsampling does not matter; instead of scaling
each pixel's differences to [0, 1] over all qualities (equations 4 and 5) the depth of the minimum is taken relative to
the two neighbouring qualities; and where Farid looks at all maps, the one whose pixels fall into two groups furthest
apart (Otsu's criterion) is the answer, its smaller group being called manipulated. Pixels that no quality changes tell
nothing, and their surroundings answer for them. The grid is taken to be aligned with the frame's corner, as in his.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthesis.sample import Frame

Maps = NDArray[np.float32]
QUALITIES = range(35, 101, 5)
WINDOW = (16, 16)
"""px"""
FLOOR = 0.3
"""Squared grey levels that rounding leaves, added to every difference."""
TOLD = 2.0
"""Mean squared difference at the neighbouring qualities from which a pixel tells something."""
REACH = 12.0
"""Standard deviation of the surroundings that answer for a pixel that tells nothing, px."""
LEAST = 0.2
"""Share of the frame that has to."""


def heatmap(frame: Frame) -> NDArray[np.float32]:
    """``1 / (1 + exp(-8 d))`` in [0, 1], [H, W]; d is how far a pixel's depth lies beyond the cut of the two groups."""
    found = [relative(*maps) for maps in _neighbours(differences(frame))]
    typical = [float(np.median(depth[told])) if told.any() else 0.0 for depth, told in found]
    own = int(np.argmax(typical))  # of the frame as a whole; its neighbours' maps show its flank
    best, answer = 0.0, np.zeros(frame.shape[:2], np.float32)
    for index, (depth, told) in enumerate(found):
        if told.mean() < LEAST or abs(index - own) == 1:
            continue
        gap, cut = best_cut(np.maximum(depth[told], 0))  # only minima are ghosts
        if gap > best:
            beyond = depth - cut if 2 * int((depth[told] > cut).sum()) <= told.sum() else cut - depth
            best, answer = gap, filled(1 / (1 + np.exp(-8 * beyond)), told)
    return answer


def _neighbours(maps: Maps) -> Iterator[tuple[Maps, Maps, Maps]]:
    return zip(maps[:-2], maps[1:-1], maps[2:], strict=True)


def relative(before: Maps, here: Maps, after: Maps) -> tuple[Maps, NDArray[np.bool_]]:
    """Depth [H, W], at most 1, of the minimum at a quality, relative to both neighbours; where it tells something."""
    around = (before + after) / 2
    return 1 - (here + FLOOR) / (around + FLOOR), around > TOLD


def differences(frame: Frame) -> NDArray[np.float32]:
    """Mean squared difference of luminance to the frame compressed at each quality, [Q, H, W]."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return np.stack(
        [cv2.blur(np.square(_coded(grey, quality) - grey.astype(np.float32)), WINDOW) for quality in QUALITIES]
    )


def _coded(grey: NDArray[np.uint8], quality: int) -> NDArray[np.float32]:
    coded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.float32)


def filled(values: Maps, told: NDArray[np.bool_]) -> Maps:
    """Pixels that tell nothing take the mean of those around that do, and near 0 where there are none."""
    weight = told.astype(np.float32)
    around = cv2.GaussianBlur(values * weight, (0, 0), REACH) / (cv2.GaussianBlur(weight, (0, 0), REACH) + 1e-3)
    return np.asarray(np.where(told, values, around), np.float32)


def best_cut(values: NDArray[np.float32]) -> tuple[float, float]:
    """Otsu's variance between the two groups of the best cut, times its share of the whole variance; and that cut."""
    counts, edges = np.histogram(values, 128)
    centres = (edges[:-1] + edges[1:]) / 2
    below, mass = np.cumsum(counts)[:-1] / values.size, np.cumsum(counts * centres)[:-1] / values.size
    mean = float((counts * centres).sum() / values.size)
    between = np.square(mean * below - mass) / np.maximum(below * (1 - below), 1e-9)
    best = int(np.argmax(between))
    share = between[best] / max(float(values.var()), 1e-9)
    return float(between[best] * share), float(edges[best + 1])
