"""Every manipulation of the hierarchy, on whole frames.

The figure names operations and parameters and no units. Read here, as its one public third-party reading does where it
says anything: kernels are square and their side is in px; a scale is that of the side, down and back to the frame's
size with the same interpolation; noise is in grey levels of deviation, percent of pixels, rate of the counts, grey
levels of half-width; colours are those of a palette; contrast is the percent cut off at either end; a histogram is
equalised in the channels that three bits name. "Wavelet blur" is the text's wavelet denoising: a threshold in grey
levels.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pywt
from PIL import Image, ImageOps

from training.synthesis import filters
from training.synthesis.compression import jpeg, webp
from training.synthesis.hierarchy import LEAVES
from training.synthesis.sample import Frame

WAVELET, SCALES = "sym4", 3
"""Wavelet of the denoising, and how many octaves of details are thresholded at most."""
INTERPOLATIONS = {
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "Lanczos": cv2.INTER_LANCZOS4,
    "linear": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST,
}
MORPHOLOGIES = {
    "close": cv2.MORPH_CLOSE,
    "dilate": cv2.MORPH_DILATE,
    "erode": cv2.MORPH_ERODE,
    "open": cv2.MORPH_OPEN,
}


def manipulated(frame: Frame, leaf: int, rng: np.random.Generator) -> Frame:
    """``frame`` after manipulation ``leaf``, 0 to 384, of the same size; only noise is drawn from ``rng``."""
    chosen = LEAVES[leaf]
    if chosen.operation in INTERPOLATIONS:
        return resample(frame, chosen.parameters[0], INTERPOLATIONS[chosen.operation])
    if chosen.operation in MORPHOLOGIES:
        kernel = np.ones((int(chosen.parameters[0]),) * 2, np.uint8)
        return np.asarray(cv2.morphologyEx(frame, MORPHOLOGIES[chosen.operation], kernel), np.uint8)
    if chosen.family == "noise":
        return filters.rounded(frame + NOISES[chosen.operation](frame, chosen.parameters[0], rng))
    return OPERATIONS[chosen.operation](frame, *chosen.parameters)


def wavelet(frame: Frame, threshold: float) -> Frame:
    """Details of up to three octaves drawn towards zero by ``threshold`` grey levels, channel by channel."""
    planes = []
    for plane in np.moveaxis(frame.astype(np.float32), 2, 0):
        octaves = min(SCALES, pywt.dwtn_max_level(plane.shape, WAVELET))
        rough, *details = pywt.wavedec2(plane, WAVELET, level=octaves)
        calm = [tuple(pywt.threshold(part, threshold, "soft") for part in octave) for octave in details]
        planes.append(pywt.waverec2([rough, *calm], WAVELET)[: plane.shape[0], : plane.shape[1]])
    return filters.rounded(np.stack(planes, axis=2))


def resample(frame: Frame, scale: float, interpolation: int) -> Frame:
    """Down to ``scale`` of the side and back, both with ``interpolation``."""
    height, width = frame.shape[:2]
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(frame, size, interpolation=interpolation)
    return np.asarray(cv2.resize(small, (width, height), interpolation=interpolation), np.uint8)


def impulses(frame: Frame, percent: float, rng: np.random.Generator) -> np.ndarray:
    """What turns ``percent`` of the pixels black or white, as many of either, all channels together."""
    hit = rng.random(frame.shape[:2]) < percent / 100
    white = rng.random(frame.shape[:2]) < 0.5
    return np.where(hit[..., None], 255 * white[..., None] - frame.astype(np.int16), 0)


NOISES: dict[str, Callable[[Frame, float, np.random.Generator], np.ndarray]] = {
    "Gaussian noise": lambda frame, sigma, rng: rng.normal(0, sigma, frame.shape),
    "impulse noise": impulses,
    "Poisson noise": lambda frame, rate, rng: rng.poisson(rate, frame.shape) - rate,
    "uniform noise": lambda frame, width, rng: rng.uniform(-width, width, frame.shape),
}
"""What is added to a frame."""


def quantised(frame: Frame, colours: float) -> Frame:
    """The palette of ``colours`` that median cut finds, without dithering."""
    palette = Image.fromarray(frame).quantize(int(colours), Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return np.array(palette.convert("RGB"))


def dithered(frame: Frame) -> Frame:
    """The 216 colours that browsers once shared, with Floyd and Steinberg's dithering."""
    image = Image.fromarray(frame).convert("P", palette=Image.Palette.WEB, dither=Image.Dither.FLOYDSTEINBERG)
    return np.array(image.convert("RGB"))


def equalised(frame: Frame, channels: float) -> Frame:
    """Histogram equalised in red (bit 2), green (bit 1) and blue (bit 0) of ``channels``."""
    changed = frame.copy()
    for channel in range(3):
        if int(channels) >> (2 - channel) & 1:
            changed[..., channel] = cv2.equalizeHist(np.ascontiguousarray(frame[..., channel]))
    return changed


OPERATIONS: dict[str, Callable[..., Frame]] = {
    "box blur": lambda frame, side: np.asarray(cv2.blur(frame, (side, side)), np.uint8),
    "Gaussian blur": lambda frame, side: np.asarray(cv2.GaussianBlur(frame, (side, side), 0), np.uint8),
    "median blur": filters.median,
    "wavelet blur": wavelet,
    "JPEG": jpeg,
    "double JPEG": lambda frame, first, second: jpeg(jpeg(frame, first), second),
    "WebP": webp,
    "quantisation": quantised,
    "dithering": dithered,
    "automatic contrast": lambda frame, cutoff: np.array(ImageOps.autocontrast(Image.fromarray(frame), cutoff)),
    "histogram equalisation": equalised,
    "none": np.copy,
    "sharpening": filters.sharpen,
}
