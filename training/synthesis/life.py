"""What happens to pictures after they were made, authentic or not: resizing, filters, and compression, once or twice.

``history`` is the life of a photograph before anybody manipulates it, ``life`` what follows. Both draw alike for
authentic and manipulated samples, so that neither container, quality, size nor history gives the label away.
"""

from __future__ import annotations

import cv2
import numpy as np

from training.synthesis import filters
from training.synthesis.compression import random_jpeg, webp
from training.synthesis.sample import Crop, Frame, Sample, between, pick

LARGEST_WORK = 1.5
SMALLEST_WORK = 0.75
INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


def working_side(size: int, rng: np.random.Generator, hardness: float) -> int:
    """Side at which a sample is manipulated before ``life`` resizes it to ``size``, px."""
    if rng.random() >= 0.4 * hardness:
        return size
    return round(size * between(rng, SMALLEST_WORK, LARGEST_WORK))


def history(crop: Crop, rng: np.random.Generator) -> Crop:
    """Half of all crops get one more JPEG generation of their own."""
    if rng.random() < 0.5:
        return crop
    return Crop(random_jpeg(crop.frame, rng, lowest=70)[0], crop.labels, crop.origin)


def life(sample: Sample, rng: np.random.Generator, *, size: int, hardness: float) -> Sample:
    """The sample resized to ``size`` px and, more often the higher ``hardness``, filtered and compressed."""
    frame, mask = sample.frame, sample.mask
    steps: list[str] = []
    if len(frame) != size:
        how = int(rng.choice(INTERPOLATIONS if len(frame) > size else INTERPOLATIONS[1:]))
        steps.append(f"resize {len(frame)}")
        frame = np.asarray(cv2.resize(frame, (size, size), interpolation=how), np.uint8)
        mask = cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0.5
    if rng.random() < 0.35 * hardness:
        frame = _touched(frame, rng, hardness, steps)
    if rng.random() < 0.3 + 0.5 * hardness:
        frame = _compressed(frame, rng, hardness, steps)
    return Sample(frame, mask, {**sample.recipe, "life": steps})


def _touched(frame: Frame, rng: np.random.Generator, hardness: float, steps: list[str]) -> Frame:
    name = pick(rng, {"blur": 0.2, "noise": 0.2, "sharpen": 0.2, "tone": 0.25, "colour": 0.15})
    steps.append(name)
    match name:
        case "blur":
            return filters.gaussian(frame, between(rng, 0.3, 0.4 + 0.7 * hardness))
        case "noise":
            return filters.noise(frame, between(rng, 0.5, 1 + 3 * hardness), rng)
        case "sharpen":
            return filters.sharpen(frame, between(rng, 0.2, 1.0))
        case "tone":
            gain, bias, gamma = between(rng, 0.9, 1.1), between(rng, -10, 10), between(rng, 0.85, 1.2)
            return filters.tone(frame, gain=gain, bias=bias, gamma=gamma)
        case _:
            return filters.colour(frame, rng.uniform(0.93, 1.07, 3), between(rng, 0.6, 1.3))


def _compressed(frame: Frame, rng: np.random.Generator, hardness: float, steps: list[str]) -> Frame:
    if rng.random() < 0.06:
        steps.append("webp")
        return webp(frame, int(rng.integers(60, 96)))
    for _ in range(1 if rng.random() < 0.75 else 2):
        frame, quality = random_jpeg(frame, rng, lowest=round(92 - 27 * hardness))
        steps.append(f"jpeg {quality}")
    return frame
