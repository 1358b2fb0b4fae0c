"""Filling a hole from patches of its surroundings, at reduced size, with the pixels of the frame itself.

After Wexler, Shechtman, Irani, "Space-Time Completion of Video", TPAMI 2007: every patch that touches the hole finds
its most similar patch of the surroundings, every pixel of the hole becomes the mean of what these patches hold there,
and again. Instead of a pyramid one reduced size; at the end every pixel is taken from where its patch was found, as in
PatchMatch (Barnes et al. 2009), whose propagation between neighbours is kept too.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from training.synthesis.sample import Frame, Mask

REDUCED = 56
"""Longest side at which patches are compared, px."""
PATCH = 5
HALF = PATCH // 2
SOURCES = 700
"""Patches of the surroundings that are looked at."""
ROUNDS = 3
SHIFT = 2
"""Bits that values lose before they are compared: sums of 75 products stay whole numbers in float32, so that the order
in which a machine adds them changes nothing."""

Places = NDArray[np.int64]
"""Rows and columns, [n, 2]."""


def filled(frame: Frame, hole: Mask, rng: np.random.Generator) -> Frame | None:
    """``frame`` with its ``hole`` filled; None where there is too little around it to fill it from."""
    factor = max(len(frame), frame.shape[1], REDUCED) / REDUCED
    size = (max(round(frame.shape[1] / factor), PATCH), max(round(frame.shape[0] / factor), PATCH))
    small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    gap = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    near = cv2.dilate(gap.astype(np.uint8), np.ones((PATCH, PATCH), np.uint8), borderValue=0) > 0
    sources = np.argwhere(~near)
    if len(sources) < PATCH**2:
        return None
    sources = sources[rng.permutation(len(sources))[:SOURCES]]
    targets = np.argwhere(near)
    small = np.asarray(cv2.inpaint(small, gap.astype(np.uint8), 3, cv2.INPAINT_TELEA), np.uint8)
    for _ in range(ROUNDS):
        found = _nearest(small, targets, sources)
        small = _voted(small, gap, targets, found)
    return _copied(frame, hole, small, _field(targets, found, small.shape[:2]))


def _patches(small: Frame, places: Places) -> NDArray[np.float32]:
    """The patch around every place, coarsened, [n, PATCH * PATCH * 3]."""
    padded = cv2.copyMakeBorder(small >> SHIFT, HALF, HALF, HALF, HALF, cv2.BORDER_REFLECT_101)
    windows = sliding_window_view(padded, (PATCH, PATCH), axis=(0, 1))
    return windows[places[:, 0], places[:, 1]].reshape(len(places), -1).astype(np.float32)


def _nearest(small: Frame, targets: Places, sources: Places) -> Places:
    """For every target the source whose patch differs least, the place itself, [n, 2]."""
    there, here = _patches(small, sources), _patches(small, targets)
    distance = np.square(there).sum(1)[None, :] - 2 * here @ there.T
    return np.asarray(sources[distance.argmin(1)])


def _voted(small: Frame, gap: Mask, targets: Places, found: Places) -> Frame:
    """``small`` with every pixel of the gap the mean of what the patches over it hold there."""
    height, width = gap.shape
    total, count = np.zeros((height, width, 3)), np.zeros((height, width, 1))
    for dy in range(-HALF, HALF + 1):
        for dx in range(-HALF, HALF + 1):
            step = np.array([dy, dx])
            to, of = targets + step, found + step
            fits = ((to >= 0) & (to < (height, width)) & (of >= 0) & (of < (height, width))).all(1)
            to, of = to[fits], of[fits]
            total[to[:, 0], to[:, 1]] += small[of[:, 0], of[:, 1]]  # every target once: no place twice
            count[to[:, 0], to[:, 1]] += 1
    mean = np.rint(total / np.maximum(count, 1)).astype(np.uint8)
    return np.where((gap & (count[..., 0] > 0))[..., None], mean, small)


def _field(targets: Places, found: Places, shape: tuple[int, ...]) -> NDArray[np.int16]:
    """How far away every pixel's source lies, [h, w, 2], the median of its neighbours' so that pieces hang together."""
    field = np.zeros((*shape, 2), np.int16)
    field[targets[:, 0], targets[:, 1]] = found - targets
    return np.stack([cv2.medianBlur(np.ascontiguousarray(field[..., axis]), 3) for axis in (0, 1)], axis=-1)


def _copied(frame: Frame, hole: Mask, small: Frame, field: NDArray[np.int16]) -> Frame:
    """Every pixel of the hole from its source; what a source lacks, from the reduced picture."""
    height, width = hole.shape
    size = (width, height)
    canvas = np.where(hole[..., None], cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), frame)
    ys, xs = np.nonzero(hole)
    rows, columns = ys * len(field) // height, xs * field.shape[1] // width
    dy = np.rint(field[rows, columns, 0] * (height / len(field))).astype(int)
    dx = np.rint(field[rows, columns, 1] * (width / field.shape[1])).astype(int)
    result = frame.copy()
    result[ys, xs] = canvas[np.clip(ys + dy, 0, height - 1), np.clip(xs + dx, 0, width - 1)]
    return result
