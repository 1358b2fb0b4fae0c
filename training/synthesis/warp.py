"""Regions moved to another place: mirrored, scaled, turned, seen at an angle, bent.

Work is done on the boxes around the region, not on whole frames: most regions are small.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthesis.sample import Frame, Mask, between
from training.synthesis.shapes import Box, bounds

MARGIN = 4
"""Pixels kept around a region: what a cubic kernel reaches, and what Poisson editing needs as its border."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A region and its pixels at the place where they are to be pasted."""

    where: Box
    """Rows and columns of the frame."""
    mask: Mask
    """The region within these, [h, w]."""
    pixels: Frame
    """[h, w, 3]."""


def placement(outline: Mask, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random map [3, 3] of (x, y, 1): mirrored, scaled by 0.6..1.6, turned, centred anywhere inside."""
    size = len(outline)
    ys, xs = np.nonzero(outline)
    centre = np.rint([2 * xs.mean(), 2 * ys.mean()]) / 2  # so that mirroring keeps pixels whole
    angle = np.deg2rad(between(rng, -25, 25)) if rng.random() < 0.5 else 0.0
    scale = between(rng, 0.6, 1.6) if rng.random() < 0.5 else 1.0
    flip = -1.0 if rng.random() < 0.3 else 1.0
    target = rng.uniform(0, 1, 2) * size
    if angle == 0 and scale == 1:
        target = centre + np.rint(target - centre)  # whole pixels: no resampling where none is meant
    turn = np.eye(3)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    turn[:2, :2] = [[flip * cosine, -sine], [flip * sine, cosine]]
    return shift(target) @ turn @ shift(-centre)


def tilted(move: NDArray[np.float64], outline: Mask, rng: np.random.Generator) -> NDArray[np.float64]:
    """``move`` after a perspective view of the region: its far side is up to a third smaller than its near one."""
    ys, xs = np.nonzero(outline)
    extent = max(np.ptp(xs), np.ptp(ys), 1)
    tilt = np.eye(3)
    tilt[2, :2] = rng.uniform(-0.4, 0.4, 2) / extent
    centre = np.array([xs.mean(), ys.mean()])
    return move @ shift(centre) @ tilt @ shift(-centre)


def shift(by: NDArray[np.float64]) -> NDArray[np.float64]:
    """The map [3, 3] that adds ``by`` (x, y) px."""
    return np.array([[1, 0, by[0]], [0, 1, by[1]], [0, 0, 1]], np.float64)


def warped(outline: Mask, frame: Frame, move: NDArray[np.float64], *, bend: Bend | None = None) -> Piece | None:
    """The region and its pixels after ``move`` [3, 3] and perhaps ``bend``; None if nothing of it is in the frame."""
    source = bounds(outline, MARGIN)
    reach = MARGIN + (bend.amplitude if bend else 0)
    if (where := _landing(source, move, len(outline), reach=reach)) is None:
        return None
    local = shift(-_corner(where)) @ move @ shift(_corner(source))
    size = (where[1].stop - where[1].start, where[0].stop - where[0].start)
    region = outline[source].astype(np.uint8)
    if bend is None:
        mask = cv2.warpPerspective(region, local, size, flags=cv2.INTER_NEAREST)
        how = cv2.INTER_CUBIC
        pixels = cv2.warpPerspective(frame[source], local, size, flags=how, borderMode=cv2.BORDER_REPLICATE)
    else:
        x, y = bend.maps(np.linalg.inv(local), size)
        mask = cv2.remap(region, x, y, cv2.INTER_NEAREST)
        pixels = cv2.remap(frame[source], x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return Piece(where, mask > 0, np.asarray(pixels, np.uint8))


@dataclass(frozen=True, slots=True, eq=False)
class Bend:
    """An elastic deformation: smooth random displacements."""

    coarse: NDArray[np.float32]
    """Displacements at 4 x 4 places of the region's box, in [-1, 1], [4, 4, 2]."""
    amplitude: float
    """Largest displacement, px."""

    def maps(
        self, inverse: NDArray[np.float64], size: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where in the source every pixel of a box of ``size`` (width, height) comes from: x and y, [h, w]."""
        away = cv2.resize(self.coarse, size, interpolation=cv2.INTER_LINEAR) * np.float32(self.amplitude)
        rows = inverse.astype(np.float32)
        x, y = np.arange(size[0], dtype=np.float32)[None, :], np.arange(size[1], dtype=np.float32)[:, None]
        below = rows[2, 0] * x + rows[2, 1] * y + rows[2, 2]
        across = (rows[0, 0] * x + rows[0, 1] * y + rows[0, 2]) / below
        down = (rows[1, 0] * x + rows[1, 1] * y + rows[1, 2]) / below
        return across + away[..., 0], down + away[..., 1]


def bent(outline: Mask, rng: np.random.Generator) -> Bend:
    """A random deformation of up to 3 to 10 % of the region's extent."""
    rows, columns = bounds(outline, 0)
    extent = max(rows.stop - rows.start, columns.stop - columns.start)
    return Bend(rng.uniform(-1, 1, (4, 4, 2)).astype(np.float32), extent * between(rng, 0.03, 0.1))


def _corner(box: Box) -> NDArray[np.float64]:
    return np.array([box[1].start, box[0].start], np.float64)


def _landing(source: Box, move: NDArray[np.float64], size: int, *, reach: float) -> Box | None:
    """The box, within the frame, that ``source`` is moved to, widened by ``reach`` px."""
    rows, columns = source
    corners = np.array([[x, y, 1] for x in (columns.start, columns.stop) for y in (rows.start, rows.stop)]) @ move.T
    if (corners[:, 2] <= 0.1).any():  # the horizon lies within the region
        return None
    places = corners[:, :2] / corners[:, 2:]
    low = np.clip(np.floor(places.min(0) - reach), 0, size).astype(int)
    high = np.clip(np.ceil(places.max(0) + reach) + 1, 0, size).astype(int)
    if (high - low < 2).any():
        return None
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
