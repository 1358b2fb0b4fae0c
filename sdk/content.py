"""Whether a frame resembles photographs, for which alone thresholds were measured: simple statistics of its pixels.

Of noise, drawings and fine patterns a detector of manipulations says anything with great confidence. The bounds lie
outside what 1,036 authentic photographs reach (crops among them): not one is
beyond any bound, so with 95 % confidence less than 0.4 % of such photographs are. ``python -m benchmarks.content
--photographs FOLDER`` counts them in any folder, and wrote ``benchmarks/results/content.json``.

So is a photograph reduced to a palette: what is found then is the quantiser's. Its colours are few and farther apart
than those of a photograph that has as few, which is dark, plain or in black and white. ``python -m benchmarks.palettes
--photographs FOLDER`` made both of held-out photographs, and wrote ``benchmarks/results/palettes.json``.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLAT_DEVIATION = 2.0
"""Standard deviation of the grey levels below which a frame has no content to judge, in levels of 0..255."""
CLIPPED_SHARE = 0.95
"""Share of pixels that are black or white in all channels above which a frame is saturated."""
EQUAL_SHARE = 0.9
"""Share of neighbouring pixels of one colour above which a frame is drawn, or enlarged without smoothing."""
NEAR, FAR = 1, 8
"""Distances at which grey levels are compared, px."""
NEAR_CORRELATION, FAR_CORRELATION = 0.55, 0.08
"""Correlations at these distances below which a frame is noise, as it is or smoothed, or a fine pattern."""
PALETTE, PALETTE_GAP = 256, 2.5
"""Most colours of a palette, and the mean distance above which so few have been chosen, in levels of 0..255."""
SCALE, SCALE_GAP = 32, 6.0
"""The same for shades of one colour, of which photographs in black and white have no more than 256 anyway."""
PALETTE_PIXELS = 8000
"""Pixels from which on a frame of few colours is told from a plain part of a photograph that was compressed much."""
_BLACK, _WHITE = 1, 254
_SAMPLES = 1 << 16
"""About how many pixels the statistics are taken from: a share is then known to a percent, in milliseconds."""
_ROWS = 32
"""Rows that are compared with those below at least."""


@dataclasses.dataclass(frozen=True, slots=True)
class Content:
    """Statistics of one frame."""

    clipped: float
    """Share of pixels that are black or white in all channels."""
    deviation: float
    """Standard deviation of the grey levels, in levels of 0..255."""
    equal: float
    """Share of pixels whose neighbour has the same colour; mean of right and lower neighbours."""
    near: float
    """Correlation of grey levels ``NEAR`` px apart, mean of both directions."""
    far: float
    """The same ``FAR`` px apart."""
    colours: int
    """Different colours among some of the pixels, evenly spread: few enough are a palette's."""
    gap: float
    """Distance of a colour from the nearest other one, mean over the pixels, in levels; 0 where colours are many."""
    scale: bool
    """Whether the colours are few and shades of one: none is darker in one channel and lighter in another."""

    @property
    def reason(self) -> str:
        """Why a frame with these statistics is unlike the photographs that were measured; empty if it is not."""
        if self.clipped > CLIPPED_SHARE:
            return f"{self.clipped:.0%} of the pixels are pure black or white"
        if self.deviation < FLAT_DEVIATION:
            return f"the frame is flat: its grey levels deviate by {self.deviation:.1f} of 255"
        if self.equal > EQUAL_SHARE:
            return f"{self.equal:.0%} of the pixels are as their neighbours, which drawings are and photographs are not"
        for distance, found, least in ((NEAR, self.near, NEAR_CORRELATION), (FAR, self.far, FAR_CORRELATION)):
            if found < least:
                return (
                    f"pixels {distance} px apart correlate by {found:.2f}, those of photographs by more than {least}: "
                    "the frame is noise or a fine pattern"
                )
        most, apart = (SCALE, SCALE_GAP) if self.scale else (PALETTE, PALETTE_GAP)
        if self.colours <= most and self.gap > apart:
            return (
                f"the frame was reduced to a palette: {self.colours} colours, {self.gap:.1f} levels apart, were met, "
                "whose traces cover those of manipulation; judge the original"
            )
        return ""


def content(frame: NDArray[np.uint8]) -> Content:
    """Statistics of a frame [H, W, 3] whose sides are longer than ``FAR``."""
    height, width = frame.shape[:2]
    step = max(1, math.isqrt(height * width // _SAMPLES))
    grid = frame[::step, ::step]  # once: of a frame on a GPU rows come down for it
    red, green, blue = _channels(grid)
    darkest, lightest = (pick(pick(red, green), blue) for pick in (np.minimum, np.maximum))
    # Whole rows at uneven distances: a grid of samples would miss what repeats as often as it does.
    rows = np.unique(np.linspace(0, height - 1 - FAR, max(_ROWS, _SAMPLES // width)).astype(int))
    upper, lower, lowest = (frame[rows + distance] for distance in (0, NEAR, FAR))
    grey, below, far_below = map(_grey, (upper, lower, lowest))
    colours, gap, scale = _palette(frame)
    return Content(
        clipped=float(((darkest >= _WHITE) | (lightest <= _BLACK)).mean()),
        deviation=float(_grey(grid).std()),
        equal=(_equal(upper[:, NEAR:], upper[:, :-NEAR]) + _equal(upper, lower)) / 2,
        near=(_correlation(grey[:, NEAR:], grey[:, :-NEAR]) + _correlation(grey, below)) / 2,
        far=(_correlation(grey[:, FAR:], grey[:, :-FAR]) + _correlation(grey, far_below)) / 2,
        colours=colours,
        gap=gap,
        scale=scale,
    )


def _palette(frame: NDArray[np.uint8]) -> tuple[int, float, bool]:
    """Number of colours, their gap, and whether they are a scale, as :class:`Content` has them."""
    area = frame.shape[0] * frame.shape[1]
    for samples in (_SAMPLES >> 4, _SAMPLES >> 1):  # few pixels are enough to tell most photographs
        step = max(1, math.isqrt(area // samples))
        colours, pixels = np.unique(_packed(frame[::step, ::step]), return_counts=True)
        if area < PALETTE_PIXELS or not 1 < len(colours) <= PALETTE:
            return len(colours), 0.0, False
        levels = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.int16)
        scale = bool((np.diff(levels[levels.sum(axis=1).argsort()], axis=0) >= 0).all())
        if scale and len(colours) > SCALE:  # of black and white, which more pixels do not make a palette
            break
    apart = np.zeros((len(levels), len(levels)), np.int16)
    for channel in levels.T:
        np.maximum(apart, np.abs(channel[:, None] - channel), out=apart)
    np.fill_diagonal(apart, 256)
    return len(colours), float(np.average(apart.min(axis=1), weights=pixels)), scale


def _packed(pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """One number for each colour of [H, W, 3], whose bytes are its levels; [H * W]."""
    red, green, blue = _channels(pixels)
    packed: NDArray[np.uint32] = red.astype(np.uint32) << 16 | green.astype(np.uint32) << 8 | blue
    return packed.ravel()


def _channels(pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Red, green and blue, each [H, W]: reducing over them one by one takes a tenth of the time of axis=2."""
    return pixels[:, :, 0], pixels[:, :, 1], pixels[:, :, 2]


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    red, green, blue = _channels(pixels)
    total: NDArray[np.float32] = red.astype(np.float32) + green + blue
    return total / np.float32(3)


def _equal(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    red, green, blue = _channels(one == other)
    return float((red & green & blue).mean())


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pearson's; 1 where one of the two has no variance."""
    one, other = one - one.mean(), other - other.mean()
    scale = math.sqrt(float((one * one).mean()) * float((other * other).mean()))
    return float((one * other).mean()) / scale if scale else 1.0
