"""Regions to manipulate: objects of a label map, closed Bezier contours, free-form blobs, boxes; small and large."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthesis.sample import Mask, between, pick

AREA = (0.01, 0.5)
"""Smallest and largest region, as a share of the frame."""
SHARES = {"small": (0.012, 0.05), "medium": (0.05, 0.18), "large": (0.18, 0.45)}
"""Shares of the frame that made-up shapes aim at."""
SHARE_WEIGHTS = {"small": 0.4, "medium": 0.35, "large": 0.25}
Box = tuple[slice, slice]
"""Rows and columns."""
CONTOUR_POINTS = 7
CURVE_STEPS = 12


def region(size: int, rng: np.random.Generator, *, labels: NDArray[np.uint8] | None = None) -> tuple[Mask, str]:
    """A random region of a ``size`` x ``size`` frame with its kind; its area lies within ``AREA``.

    Objects are preferred where ``labels`` holds one of legal area. Shapes are drawn again until legal; an ellipse ends
    the search.
    """
    if labels is not None and rng.random() < 0.7 and (found := object_region(labels, rng)) is not None:
        return found, "object"
    low, high = SHARES[pick(rng, SHARE_WEIGHTS)]
    for _ in range(8):
        kind = pick(rng, {"contour": 0.4, "blob": 0.45, "box": 0.15})
        mask = {"contour": contour, "blob": blob, "box": box}[kind](size, rng, between(rng, low, high))
        if legal(mask):
            return mask, kind
    return ellipse(size, rng), "ellipse"


def bounds(mask: Mask, margin: int) -> Box:
    """The smallest box around a region that is not empty, widened by ``margin`` px within the frame."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    rows = slice(max(int(ys[0]) - margin, 0), min(int(ys[-1]) + margin + 1, mask.shape[0]))
    return rows, slice(max(int(xs[0]) - margin, 0), min(int(xs[-1]) + margin + 1, mask.shape[1]))


def legal(mask: Mask) -> bool:
    """Whether the region's share of the frame lies within ``AREA``."""
    return bool(AREA[0] <= mask.mean() <= AREA[1])


def object_region(labels: NDArray[np.uint8], rng: np.random.Generator) -> Mask | None:
    """One labelled object, or all of them together, of legal area; None if there is none."""
    values = np.flatnonzero(np.bincount(labels.ravel(), minlength=2)[1:]) + 1
    if values.size == 0:
        return None
    for value in [0, *rng.permutation(values)] if rng.random() < 0.4 else rng.permutation(values):
        mask = labels != 0 if value == 0 else labels == value
        if legal(mask):
            return mask
    return None


def contour(size: int, rng: np.random.Generator, share: float) -> Mask:
    """A closed curve of quadratic Bezier arcs through the midpoints of seven points around a centre.

    Like the other shapes it covers about ``share`` of the frame where the frame does not cut it.
    """
    angles = (np.arange(CONTOUR_POINTS) + rng.uniform(-0.35, 0.35, CONTOUR_POINTS)) * (2 * np.pi / CONTOUR_POINTS)
    radius = np.sqrt(share / 2) * size * rng.uniform(0.55, 1.25, CONTOUR_POINTS)
    stretch = np.array([between(rng, 0.7, 1.3), between(rng, 0.7, 1.3)])
    spokes = np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None] * stretch
    points = rng.uniform(0, 1, 2) * size + spokes
    middle = (points + np.roll(points, -1, 0)) / 2
    t = np.linspace(0, 1, CURVE_STEPS, endpoint=False)[None, :, None]
    start, control, end = middle[:, None], np.roll(points, -1, 0)[:, None], np.roll(middle, -1, 0)[:, None]
    curve = ((1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end).reshape(-1, 2)
    return _filled(curve, size)


def blob(size: int, rng: np.random.Generator, share: float) -> Mask:
    """The largest connected piece of smooth noise above a level, pulled towards a random centre."""
    cells = int(rng.integers(3, 8))
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    noise = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    centre = rng.uniform(0, 1, 2) * size
    y, x = np.ogrid[:size, :size]
    distance = np.hypot(y - centre[0], x - centre[1]) / size
    field = noise - 6 * distance.astype(np.float32)
    covered = max(int(share * field.size), 1)
    level = np.partition(field.ravel(), -covered)[-covered]
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((field >= level).astype(np.uint8))
    if count < 2:
        return np.zeros((size, size), np.bool_)
    return pieces == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))


def box(size: int, rng: np.random.Generator, share: float) -> Mask:
    """A rectangle at a random angle."""
    aspect = np.exp(between(rng, -0.7, 0.7))
    extent = (size * float(np.sqrt(share * aspect)), size * float(np.sqrt(share / aspect)))
    centre = (between(rng, 0, 1) * size, between(rng, 0, 1) * size)
    angle = 0.0 if rng.random() < 0.6 else between(rng, 0, 90)
    return _filled(cv2.boxPoints((centre, extent, angle)), size)


def ellipse(size: int, rng: np.random.Generator) -> Mask:
    """An ellipse that lies inside the frame."""
    half = rng.uniform(0.1, 0.25, 2) * size
    centre = rng.uniform(0.3, 0.7, 2) * size
    y, x = np.ogrid[:size, :size]
    return np.asarray(((y - centre[0]) / half[0]) ** 2 + ((x - centre[1]) / half[1]) ** 2 <= 1)


def _filled(curve: NDArray[np.float64], size: int) -> Mask:
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [np.round(curve).astype(np.int32)], 1)
    return canvas.astype(np.bool_)
