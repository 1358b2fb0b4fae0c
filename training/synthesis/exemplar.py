"""Filling a hole from patches of its surroundings, matched at reduced size, with the pixels of the frame itself.

After Criminisi, Perez, Toyama, "Region Filling and Object Removal by Exemplar-Based Inpainting", IEEE TIP 2004: the
hole grows shut from its rim; each time, the patch of the surroundings that differs least from what is known around a
pixel of the rim fills the rest of that pixel's patch. Differences: pixels of a rim come in random order and are matched
at once, not by priority; and the matches, made on a reduced frame, say where in the frame itself every pixel is from.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from training.synthesis.sample import Frame, Mask

REDUCED = 56
"""Longest side at which patches are compared, px."""
PATCH = 7
HALF = PATCH // 2
SOURCES = 700
"""Patches of the surroundings that are looked at."""
SHIFT = 2
"""Bits that values lose before they are compared: sums of 147 products stay whole numbers in float32, so that the order
in which a machine adds them changes nothing."""

Places = NDArray[np.int64]
"""Rows and columns, [n, 2]."""
Field = NDArray[np.int16]
"""How far away the source of every pixel lies, rows and columns, [h, w, 2]."""


def filled(frame: Frame, hole: Mask, rng: np.random.Generator) -> Frame | None:
    """``frame`` with its ``hole`` filled; None where there is too little around it to fill it from."""
    factor = max(len(frame), frame.shape[1], REDUCED) / REDUCED
    size = (max(round(frame.shape[1] / factor), PATCH), max(round(frame.shape[0] / factor), PATCH))
    small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    gap = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    near = cv2.dilate(gap.astype(np.uint8), np.ones((PATCH, PATCH), np.uint8), borderValue=0) > 0
    near[:HALF], near[-HALF:], near[:, :HALF], near[:, -HALF:] = True, True, True, True  # patches lie in the frame
    sources = np.argwhere(~near)
    if len(sources) < PATCH**2:
        return None
    sources = sources[rng.permutation(len(sources))[:SOURCES]]
    small, field = _grown(small, gap, sources, rng)
    return _copied(frame, hole, small, field)


def _grown(small: Frame, gap: Mask, sources: Places, rng: np.random.Generator) -> tuple[Frame, Field]:
    """``small`` with its gap filled from the rim inwards, a patch at a time, and where every pixel came from."""
    small, field, known = small.copy(), np.zeros((*gap.shape, 2), np.int16), ~gap
    there = _patches(small, sources)
    squares = np.square(there)
    while not known.all():
        rim = (cv2.dilate(known.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~known
        targets = rng.permutation(np.argwhere(rim))
        weights = _patches(np.repeat(known[..., None] * np.uint8(1 << SHIFT), 3, axis=2), targets)
        distance = weights @ squares.T - 2 * (weights * _patches(small, targets)) @ there.T
        for (y, x), (v, u) in zip(targets.tolist(), sources[distance.argmin(1)].tolist(), strict=True):
            if known[y, x]:  # a neighbour's patch has covered it
                continue
            up, left = min(y, HALF), min(x, HALF)
            to = np.s_[y - up : y + HALF + 1, x - left : x + HALF + 1]
            new = ~known[to]
            height, width = new.shape
            of = np.s_[v - up : v - up + height, u - left : u - left + width]
            small[to][new] = small[of][new]
            field[to][new] = (v - y, u - x)
            known[to] = True
    return small, field


def _patches(small: Frame, places: Places) -> NDArray[np.float32]:
    """The patch around every place, coarsened, [n, PATCH * PATCH * 3]."""
    padded = cv2.copyMakeBorder(small >> SHIFT, HALF, HALF, HALF, HALF, cv2.BORDER_REFLECT_101)
    windows = sliding_window_view(padded, (PATCH, PATCH), axis=(0, 1))
    return windows[places[:, 0], places[:, 1]].reshape(len(places), -1).astype(np.float32)


def _copied(frame: Frame, hole: Mask, small: Frame, field: Field) -> Frame:
    """Every pixel of the hole from its source; what a source lacks, from the reduced picture."""
    height, width = hole.shape
    canvas = np.where(hole[..., None], cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), frame)
    ys, xs = np.nonzero(hole)
    rows, columns = ys * len(field) // height, xs * field.shape[1] // width
    dy = np.rint(field[rows, columns, 0] * (height / len(field))).astype(int)
    dx = np.rint(field[rows, columns, 1] * (width / field.shape[1])).astype(int)
    result = frame.copy()
    result[ys, xs] = canvas[np.clip(ys + dy, 0, height - 1), np.clip(xs + dx, 0, width - 1)]
    return result
