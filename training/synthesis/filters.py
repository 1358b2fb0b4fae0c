"""Frame-wide image operations; enhancement applies them under a mask, life to whole frames."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthesis.sample import Frame


def rounded(values: NDArray[np.float32] | NDArray[np.float64]) -> Frame:
    """To uint8, clipped to 0..255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def gaussian(frame: Frame, sigma: float) -> Frame:
    """Gaussian blur, ``sigma`` in px."""
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), sigma), np.uint8)


def median(frame: Frame, side: int) -> Frame:
    """Median over an odd ``side`` x ``side`` window."""
    return np.asarray(cv2.medianBlur(frame, side), np.uint8)


def noise(frame: Frame, sigma: float, rng: np.random.Generator) -> Frame:
    """Gaussian noise of ``sigma`` grey levels, grey or per channel."""
    shape = (*frame.shape[:2], 1 if rng.random() < 0.3 else 3)
    return rounded(frame + sigma * rng.standard_normal(shape, np.float32))


def sharpen(frame: Frame, amount: float) -> Frame:
    """Unsharp mask: ``frame + amount * (frame - blur)``."""
    return np.asarray(cv2.addWeighted(frame, 1 + amount, cv2.GaussianBlur(frame, (0, 0), 1.0), -amount, 0), np.uint8)


def resample(frame: Frame, factor: float) -> Frame:
    """Down to ``factor`` of the side and back to the same size: what enlarging a small picture leaves."""
    height, width = frame.shape[:2]
    small = cv2.resize(frame, (max(int(width * factor), 4), max(int(height * factor), 4)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def tone(frame: Frame, *, gain: float, bias: float, gamma: float) -> Frame:
    """``255 (v/255)^gamma * gain + bias`` on every channel, by table."""
    table = 255 * (np.arange(256, dtype=np.float64) / 255) ** gamma * gain + bias
    return np.asarray(cv2.LUT(frame, rounded(table)), np.uint8)


def colour(frame: Frame, gains: NDArray[np.float64], saturation: float) -> Frame:
    """White balance by channel ``gains`` [3], then distance from grey times ``saturation``."""
    values = frame * gains.astype(np.float32)
    grey = values.mean(-1, keepdims=True)
    return rounded(grey + np.float32(saturation) * (values - grey))


def vignette(frame: Frame, strength: float, centre: NDArray[np.float64]) -> Frame:
    """Darker away from ``centre`` (rows, columns, as shares of the sides), by ``strength`` at the farthest corner."""
    height, width = frame.shape[:2]
    y, x = np.ogrid[:height, :width]
    square = (y / height - centre[0]) ** 2 + (x / width - centre[1]) ** 2
    return rounded(frame * (1 - strength * square / square.max()).astype(np.float32)[..., None])
