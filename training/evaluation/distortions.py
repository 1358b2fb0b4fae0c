"""What befalls an image between its forger and us: the papers' distortions by name, with their parameters.

The truth stays at the size of the undistorted image, and heatmaps are brought back to it, as PSCC-Net's are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from training.synthesis.compression import jpeg
from training.synthesis.filters import rounded
from training.synthesis.sample import Frame, between


def resize(frame: Frame, scale: float) -> Frame:
    """Both sides times ``scale``, by area averaging; the papers do not say how, and aliasing would be a trace."""
    height, width = (max(round(extent * scale), 1) for extent in frame.shape[:2])
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


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
    apply: Callable[[Frame, np.random.Generator], Frame] = field(repr=False)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame, distorted; of its own size but for resizing."""
        return self.apply(frame, rng)

    def to_dict(self) -> dict[str, object]:
        """What it is, in JSON types."""
        return {"name": self.name, "family": self.family, "parameter": self.parameter, "paper": self.paper}


PSCCNET = "PSCC-Net, tables VI and VII"
GSRNET = "GSR-Net, section 4.5"


def _resize(scale: float, paper: str) -> Distortion:
    return Distortion(f"resize {scale}", "resize", scale, paper, lambda frame, _: resize(frame, scale))


def _jpeg(quality: int, paper: str) -> Distortion:
    return Distortion(f"jpeg {quality}", "jpeg", quality, paper, lambda frame, _: jpeg(frame, quality))


def _blur(side: int) -> Distortion:
    return Distortion(f"blur {side}", "blur", side, PSCCNET, lambda frame, _: blur(frame, side))


def _noise(sigma: int) -> Distortion:
    return Distortion(f"noise {sigma}", "noise", sigma, PSCCNET, lambda frame, rng: noise(frame, sigma, rng))


DISTORTIONS = (
    _resize(0.78, PSCCNET), _resize(0.7, GSRNET), _resize(0.5, GSRNET), _resize(0.25, PSCCNET),
    _blur(3), _blur(15), _noise(3), _noise(15),
    _jpeg(100, PSCCNET), _jpeg(70, GSRNET), _jpeg(50, f"{PSCCNET}; {GSRNET}"),
    Distortion("mixed", "mixed", None, PSCCNET, mixed),
)  # fmt: skip
FAMILIES = {"resize": "scale of both sides", "blur": "kernel, px", "noise": "deviation, grey levels", "jpeg": "quality"}
"""Families that make a curve, with the meaning of their parameter."""
