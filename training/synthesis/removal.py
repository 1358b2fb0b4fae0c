"""Removal: a region filled from its surroundings, by diffusion or from the best matching place of the frame."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthesis import filters
from training.synthesis.blend import feather, mix
from training.synthesis.sample import Crop, Frame, Mask, Sample, between, pick
from training.synthesis.shapes import AREA, region

FILLS = {"telea": 0.3, "navier_stokes": 0.25, "patch": 0.45}
"""How often each fill is drawn."""
RING = 6
"""Width of the surroundings that a fill has to match, px."""
LARGEST_DIFFUSION = 0.2
"""Share of the frame above which diffusion is not used: it is slow, and nobody would believe the smear."""


def removal(base: Crop, draw: Callable[[], Crop], rng: np.random.Generator, hardness: float) -> Sample:
    """``base`` with one region painted over; ``draw`` is not used.

    With ``hardness`` a diffused fill, which is too smooth to be believed, more often gets grain.
    """
    del draw
    outline, shape = region(len(base.frame), rng, labels=base.labels)
    grown = cv2.dilate(outline.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    mask = grown if grown.mean() <= AREA[1] else outline
    fill = pick(rng, FILLS) if mask.mean() < LARGEST_DIFFUSION else "patch"
    frame = patched(base.frame, mask, rng) if fill == "patch" else diffused(base.frame, mask, fill)
    if fill != "patch" and rng.random() < 0.5 * hardness:
        frame = np.where(mask[..., None], filters.noise(frame, between(rng, 1, 4), rng), base.frame)
    return Sample(frame, mask, {"kind": "removal", "origin": base.origin, "shape": shape, "fill": fill})


def diffused(frame: Frame, mask: Mask, fill: str) -> Frame:
    """OpenCV's inpainting of the region, restricted to it."""
    method = cv2.INPAINT_TELEA if fill == "telea" else cv2.INPAINT_NS
    painted = cv2.inpaint(frame, mask.astype(np.uint8), 3, method)
    return np.where(mask[..., None], painted, frame)


def patched(frame: Frame, mask: Mask, rng: np.random.Generator) -> Frame:
    """The region replaced by the place of the frame whose surroundings resemble its own most, with a soft inner edge.

    Places that overlap the region by more than a half are not used. One offset for the whole region is far cheaper than
    a search per patch, and like it leaves pixels of the same photograph in a wrong place.
    """
    size = len(mask)
    ring = (cv2.dilate(mask.astype(np.uint8), np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)) > 0) & ~mask
    offsets = rng.integers(-size + 8, size - 8, (48, 2))
    best, lowest = frame, np.inf
    ys, xs = (axis[:: max(len(axis) // 300, 1)] for axis in np.nonzero(ring))
    here = frame[ys, xs].astype(np.float32)
    area = int(mask.sum())
    for dy, dx in offsets:
        move = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
        if (cv2.warpAffine(mask.astype(np.uint8), move, (size, size)).astype(np.bool_) & mask).sum() > area / 2:
            continue
        there = frame[_reflected(ys - dy, size), _reflected(xs - dx, size)]
        difference = float(np.square(here - there).mean())
        if difference < lowest:
            lowest, best = difference, cv2.warpAffine(frame, move, (size, size), borderMode=cv2.BORDER_REFLECT_101)
    return mix(frame, np.asarray(best, np.uint8), feather(mask, width=between(rng, 0, 4)))


def _reflected(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Indices folded back into 0..size-1 as ``BORDER_REFLECT_101`` does."""
    folded = np.abs(index) % (2 * size - 2)
    return np.minimum(folded, 2 * size - 2 - folded)
