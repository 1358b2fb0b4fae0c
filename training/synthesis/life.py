"""What happens to pictures, authentic or not: edits before anybody manipulates them, and a journey afterwards.

Both draw alike for authentic and manipulated samples, so that neither container, quality, size nor history gives the
label away.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthesis import filters
from training.synthesis.compression import jpeg, random_jpeg, random_offset, webp
from training.synthesis.journey import PLATFORMS, Journey
from training.synthesis.sample import Crop, Frame, Mask, Sample, between, pick
from training.synthesis.video import h264

EDITS = {"tone": 0.3, "colour": 0.15, "sharpen": 0.15, "denoise": 0.1, "vignette": 0.1, "resize": 0.2}
"""Innocent edits of a whole photograph and how often each is drawn, if any."""
TOUCHES = {"blur": 0.2, "noise": 0.2, "sharpen": 0.2, "tone": 0.25, "colour": 0.15}
"""The same for the finished picture."""
LOWEST_QUALITY = 55
"""JPEG quality that a finished picture is saved at, at least; parts of pictures may be older and have seen less."""
INTERPOLATIONS = {
    "area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "lanczos": cv2.INTER_LANCZOS4,
}  # fmt: skip
SHRINKING = {"area": 0.3, "linear": 0.3, "cubic": 0.25, "lanczos": 0.15}
ENLARGING = {"linear": 0.4, "cubic": 0.6}
"""How editors, services and screens resize."""


def history(crop: Crop, rng: np.random.Generator, hardness: float) -> Crop:
    """The photograph before it is manipulated: a third is edited as a whole, half gets one more JPEG generation."""
    frame = crop.frame
    if rng.random() < 0.3 * hardness:
        frame = _edited(frame, pick(rng, EDITS), rng)
    if rng.random() < 0.5:
        frame = random_jpeg(frame, rng, lowest=70)[0]
    return Crop(frame, crop.labels, crop.origin)


def _edited(frame: Frame, name: str, rng: np.random.Generator) -> Frame:
    match name:
        case "sharpen":
            return filters.sharpen(frame, between(rng, 0.2, 1.2))
        case "denoise":
            return filters.median(frame, 3)
        case "vignette":
            return filters.vignette(frame, between(rng, 0.1, 0.5), rng.uniform(0.3, 0.7, 2))
        case "resize":
            return filters.resample(frame, between(rng, 0.6, 0.95))
        case _:
            return _recoloured(frame, name, rng)


def life(sample: Sample, journey: Journey, rng: np.random.Generator, *, hardness: float) -> Sample:
    """The sample of side ``journey.made`` on its way to ``journey.size``; the recipe names every step."""
    frame, steps = sample.frame, list[str]()
    if journey.route not in {"uploaded", "screenshot"}:  # these resize on their own
        frame = _resized(frame, journey.sent, rng, steps)
    if rng.random() < 0.35 * hardness:
        frame = _touched(frame, rng, hardness, steps)
    match journey.route:
        case "saved":
            frame = _saved(frame, rng, hardness, steps)
        case "uploaded":
            frame = _uploaded(frame, journey, rng, steps)
        case "screenshot":
            frame = _on_screen(frame, journey.sent, rng, steps)
        case "video":
            frame = _filmed(frame, rng, steps)
    if journey.sent > journey.size:
        steps.append(f"shrink {journey.sent}")
        frame = shrunk(frame, journey.size)
    mask = fitted(sample.mask, journey.size)
    return Sample(frame, mask, {**sample.recipe, "route": journey.route, "life": steps})


def shrunk(frame: Frame, side: int) -> Frame:
    """Averaged over equal areas, as an analyser brings a large picture to its working size; rounded to uint8."""
    return np.asarray(cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def fitted(mask: Mask, side: int) -> Mask:
    """Pixels of which most is manipulated; of regions thinner than that, what is manipulated most."""
    if len(mask) == side or not mask.any():
        return mask if len(mask) == side else np.zeros((side, side), np.bool_)
    how = cv2.INTER_AREA if len(mask) > side else cv2.INTER_LINEAR
    cover = cv2.resize(mask.astype(np.float32), (side, side), interpolation=how)
    return np.asarray(cover > min(0.5, cover.max() / 2))


def sampled(labels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Labels [s, s] at another side, each that of the nearest pixel: there is nothing between two of them."""
    return np.asarray(cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _resized(frame: Frame, side: int, rng: np.random.Generator, steps: list[str]) -> Frame:
    if len(frame) == side:
        return frame
    how = pick(rng, SHRINKING if len(frame) > side else ENLARGING)
    steps.append(f"{how} {len(frame)} {side}")
    return np.asarray(cv2.resize(frame, (side, side), interpolation=INTERPOLATIONS[how]), np.uint8)


def _touched(frame: Frame, rng: np.random.Generator, hardness: float, steps: list[str]) -> Frame:
    name = pick(rng, TOUCHES)
    steps.append(name)
    match name:
        case "blur":
            return filters.gaussian(frame, between(rng, 0.3, 0.4 + 0.7 * hardness))
        case "noise":
            return filters.noise(frame, between(rng, 0.5, 1 + 3 * hardness), rng)
        case "sharpen":
            return filters.sharpen(frame, between(rng, 0.2, 1.0))
        case _:
            return _recoloured(frame, name, rng)


def _recoloured(frame: Frame, name: str, rng: np.random.Generator) -> Frame:
    if name == "tone":
        gain, bias, gamma = between(rng, 0.9, 1.1), between(rng, -10, 10), between(rng, 0.85, 1.2)
        return filters.tone(frame, gain=gain, bias=bias, gamma=gamma)
    return filters.colour(frame, rng.uniform(0.93, 1.07, 3), between(rng, 0.6, 1.3))


def _saved(frame: Frame, rng: np.random.Generator, hardness: float, steps: list[str]) -> Frame:
    if rng.random() < 0.08:
        quality = int(rng.integers(60, 96))
        steps.append(f"webp {quality}")
        return webp(frame, quality)
    for _ in range(1 if rng.random() < 0.75 else 2):
        frame, quality = random_jpeg(frame, rng, lowest=round(92 - (92 - LOWEST_QUALITY) * hardness))
        steps.append(f"jpeg {quality}")
    return frame


def _uploaded(frame: Frame, journey: Journey, rng: np.random.Generator, steps: list[str]) -> Frame:
    for name, side in journey.hops:
        frame = _resized(frame, side, rng, steps)
        first, last = PLATFORMS[name].qualities
        quality = int(rng.integers(first, last + 1))
        frame = jpeg(frame, quality, offset=random_offset(rng), subsample=PLATFORMS[name].subsample)
        steps.append(f"{name} {quality}")
    return frame


def _on_screen(frame: Frame, side: int, rng: np.random.Generator, steps: list[str]) -> Frame:
    """Scaled to the screen, through its colours, and grabbed: as PNG, or as JPEG."""
    frame = _resized(frame, side, rng, steps)
    gains = rng.uniform(0.95, 1.05, 3)
    frame = filters.tone(frame, gain=1.0, bias=between(rng, -3, 3), gamma=between(rng, 0.88, 1.14))
    frame = filters.colour(frame, gains, between(rng, 0.85, 1.15))
    steps.append("screen")
    if rng.random() < 0.5:
        frame, quality = random_jpeg(frame, rng, lowest=70)
        steps.append(f"jpeg {quality}")
    return frame


def _filmed(frame: Frame, rng: np.random.Generator, steps: list[str]) -> Frame:
    crf, full, intra = int(rng.integers(16, 35)), bool(rng.random() < 0.3), bool(rng.random() < 0.4)
    pan = (int(rng.integers(-4, 5)), int(rng.integers(-4, 5)))
    steps.append(f"h264 {crf} {'full' if full else 'limited'} {'intra' if intra else 'predicted'}")
    return h264(frame, crf=crf, full_range=full, pan=pan, intra=intra)
