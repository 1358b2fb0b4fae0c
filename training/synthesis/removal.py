"""Removal: a region filled from its surroundings, by diffusion, from one matching place, or from many patches."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthesis import exemplar, filters
from training.synthesis.blend import feather, mix
from training.synthesis.sample import Crop, Frame, Mask, Sample, between, pick
from training.synthesis.shapes import AREA, bounds, region

FILLS = {"telea": 0.25, "navier_stokes": 0.2, "clone": 0.25, "patches": 0.3}
"""How often each fill is drawn."""
RING = 6
"""Width of the surroundings that a clone has to match, px."""
LARGEST_DIFFUSION = 0.12
"""Share of the frame above which diffusion is not used: nobody would believe the smear."""
SLOWEST_DIFFUSION = 16_000
"""The same in pixels: it is slow."""
PROBES = 300
"""Pixels of a region, and of its ring, that are looked at to judge a place."""


def removal(base: Crop, draw: Callable[[], Crop], rng: np.random.Generator, hardness: float) -> Sample:
    """``base`` with one region painted over; ``draw`` is not used.

    With ``hardness`` a diffused fill, which is too smooth to be believed, more often gets grain.
    """
    del draw
    outline, shape = region(len(base.frame), rng, labels=base.labels)
    grown = cv2.dilate(outline.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    mask = grown if grown.mean() <= AREA[1] else outline
    fill = pick(rng, FILLS)
    if fill in {"telea", "navier_stokes"} and (mask.mean() > LARGEST_DIFFUSION or mask.sum() > SLOWEST_DIFFUSION):
        fill = "clone"
    rows, columns = bounds(mask, 0)
    where = bounds(mask, 8 + max(rows.stop - rows.start, columns.stop - columns.start) // 2)
    frame = base.frame.copy()
    match fill:
        case "clone":
            frame[where] = cloned(base.frame, mask, rng)[where]
        case "patches":
            painted = exemplar.filled(base.frame[where], mask[where], rng)
            frame[where] = cloned(base.frame, mask, rng)[where] if painted is None else painted
        case _:
            frame[where] = diffused(base.frame[where], mask[where], fill)
            if rng.random() < 0.5 * hardness:
                grainy = filters.noise(frame[where], between(rng, 1, 4), rng)
                frame[where] = np.where(mask[where][..., None], grainy, base.frame[where])
    return Sample(frame, mask, {"kind": "removal", "origin": base.origin, "shape": shape, "fill": fill})


def diffused(frame: Frame, mask: Mask, fill: str) -> Frame:
    """OpenCV's inpainting of the region, restricted to it."""
    method = cv2.INPAINT_TELEA if fill == "telea" else cv2.INPAINT_NS
    painted = cv2.inpaint(np.ascontiguousarray(frame), mask.astype(np.uint8), 3, method)
    return np.where(mask[..., None], painted, frame)


def cloned(frame: Frame, mask: Mask, rng: np.random.Generator) -> Frame:
    """The region replaced by the place of the frame whose surroundings resemble its own most, with a soft inner edge.

    Places that overlap the region by more than a half are not used. The frame is reflected beyond its border.
    """
    size = len(mask)
    ring = (cv2.dilate(mask.astype(np.uint8), np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)) > 0) & ~mask
    around, inside = _probes(ring), _probes(mask)
    here = frame[tuple(around.T)].astype(np.float32)
    best, lowest = (size // 2, size // 2), np.inf
    for move in rng.integers(-size + 8, size - 8, (48, 2)):
        if mask[tuple(_reflected(inside + move, size).T)].mean() > 0.5:
            continue
        difference = float(np.square(here - frame[tuple(_reflected(around + move, size).T)]).mean())
        if difference < lowest:
            lowest, best = difference, tuple(int(part) for part in move)
    rows, columns = where = bounds(mask, 1)
    ys, xs = (_reflected(np.arange(part.start, part.stop) + by, size) for part, by in zip(where, best, strict=True))
    result = frame.copy()
    result[rows, columns] = mix(frame[where], frame[np.ix_(ys, xs)], feather(mask[where], width=between(rng, 0, 4)))
    return result


def _probes(mask: Mask) -> NDArray[np.int64]:
    """Evenly picked pixels of a region, rows and columns, [n, 2]."""
    places = np.argwhere(mask)
    return places[:: max(len(places) // PROBES, 1)]


def _reflected(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Indices folded back into 0..size-1 as ``BORDER_REFLECT_101`` does."""
    folded = np.abs(index) % (2 * size - 2)
    return np.minimum(folded, 2 * size - 2 - folded)
