"""What befalls an image between its forger and us: the papers' distortions by name, with their parameters.

The truth stays at the size of the undistorted image, and heatmaps are brought back to it, as PSCC-Net's are. One of
ManTra-Net's is done by the forger, who knows the truth: edges of what was forged are smoothed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from training.synthesis.compression import jpeg
from training.synthesis.filters import rounded
from training.synthesis.sample import Frame, Mask, between

Truth = Mask | None


def resize(frame: Frame, scale: float) -> Frame:
    """Both sides times ``scale``, by area averaging; the papers do not say how, and aliasing would be a trace."""
    height, width = (max(round(extent * scale), 1) for extent in frame.shape[:2])
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def shrink(frame: Frame, scale: float) -> Frame:
    """Both sides times ``scale``, linearly, as ManTra-Net's "LinearResize"."""
    height, width = (max(round(extent * scale), 1) for extent in frame.shape[:2])
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def smooth_edges(frame: Frame, truth: Truth, side: int) -> Frame:
    """A Gaussian of ``side`` x ``side`` px, odd, on pixels up to ``side // 2`` from the border of the forged region."""
    if truth is None or not truth.any():
        return frame
    band = cv2.morphologyEx(truth.view(np.uint8), cv2.MORPH_GRADIENT, np.ones((side, side), np.uint8)) > 0
    return np.where(band[..., None], blur(frame, side), frame)


def blur(frame: Frame, side: int) -> Frame:
    """A Gaussian of ``side`` x ``side`` px, odd, whose deviation OpenCV derives from the side (k = 15: 2.6 px)."""
    return np.asarray(cv2.GaussianBlur(frame, (side, side), 0), np.uint8)


def noise(frame: Frame, sigma: float, rng: np.random.Generator) -> Frame:
    """Gaussian noise of ``sigma`` grey levels, every channel for itself."""
    return rounded(frame + sigma * rng.standard_normal(frame.shape, np.float32))


def mixed(frame: Frame, rng: np.random.Generator) -> Frame:
    """All four, in the order of the tables, each with a parameter drawn between the two that are tabled."""
    frame = resize(frame, between(rng, 0.25, 0.78))
    frame = blur(frame, 2 * int(rng.integers(1, 8)) + 1)
    frame = noise(frame, between(rng, 3, 15), rng)
    return jpeg(frame, int(rng.integers(50, 101)))


@dataclass(frozen=True, slots=True)
class Distortion:
    """One distortion; a call distorts a frame."""

    name: str
    family: str
    """Curves join the distortions of one family by their parameter."""
    parameter: float | None
    paper: str
    apply: Callable[[Frame, np.random.Generator, Truth], Frame] = field(repr=False)

    def __call__(self, frame: Frame, rng: np.random.Generator, truth: Truth = None) -> Frame:
        """The frame, distorted; of its own size but for resizing. ``truth`` is what its forger knows."""
        return self.apply(frame, rng, truth)

    def to_dict(self) -> dict[str, object]:
        """What it is, in JSON types."""
        return {"name": self.name, "family": self.family, "parameter": self.parameter, "paper": self.paper}


PSCCNET = "PSCC-Net, tables VI and VII"
GSRNET = "GSR-Net, section 4.5"
MANTRANET = "ManTra-Net, figure 4 (b)"


def _resize(scale: float, paper: str) -> Distortion:
    return Distortion(f"resize {scale}", "resize", scale, paper, lambda frame, *_: resize(frame, scale))


def _jpeg(quality: int, paper: str) -> Distortion:
    return Distortion(f"jpeg {quality}", "jpeg", quality, paper, lambda frame, *_: jpeg(frame, quality))


def _blur(side: int) -> Distortion:
    return Distortion(f"blur {side}", "blur", side, PSCCNET, lambda frame, *_: blur(frame, side))


def _noise(sigma: int) -> Distortion:
    return Distortion(f"noise {sigma}", "noise", sigma, PSCCNET, lambda frame, rng, _: noise(frame, sigma, rng))


DISTORTIONS = (
    _resize(0.78, PSCCNET), _resize(0.7, GSRNET), _resize(0.5, GSRNET), _resize(0.25, PSCCNET),
    _blur(3), _blur(15), _noise(3), _noise(15),
    _jpeg(100, PSCCNET), _jpeg(70, GSRNET), _jpeg(50, f"{PSCCNET}; {GSRNET}"),
    Distortion("mixed", "mixed", None, PSCCNET, lambda frame, rng, _: mixed(frame, rng)),
)  # fmt: skip
FAMILIES = {"resize": "scale of both sides", "blur": "kernel, px", "noise": "deviation, grey levels", "jpeg": "quality"}
"""Families that make a curve, with the meaning of their parameter."""


def _shrink(scale: float) -> Distortion:
    return Distortion(f"shrink {scale}", "shrink", scale, MANTRANET, lambda frame, *_: shrink(frame, scale))


def _edges(side: int) -> Distortion:
    def apply(frame: Frame, rng: np.random.Generator, truth: Truth) -> Frame:
        del rng
        return smooth_edges(frame, truth, side)

    return Distortion(f"smooth edges {side}", "smooth edges", side, MANTRANET, apply)


POSTPROCESSING = (
    *map(_shrink, (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)),
    *(_jpeg(quality, MANTRANET) for quality in (100, 95, 90, 80, 70, 60, 50)),
    *map(_edges, (3, 5, 7, 9, 11, 15)),
)
"""What a forger does last. The figure's axes are not to be read off to the digit; these span what it shows."""
POSTPROCESSED = {"shrink": "scale of both sides", "jpeg": "quality", "smooth edges": "kernel, px"}
