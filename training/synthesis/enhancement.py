"""Enhancement: a filter applied under a mask: blur, median, noise, sharpening, resampling, tone, colour, JPEG."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.synthesis import filters
from training.synthesis.blend import feather, mix
from training.synthesis.compression import random_jpeg
from training.synthesis.sample import Crop, Frame, Sample, between, mixed, pick
from training.synthesis.shapes import bounds, region

EASY = {"blur": 0.3, "median": 0.1, "noise": 0.35, "sharpen": 0.1, "resample": 0.15}
HARD = {
    "blur": 0.2, "median": 0.1, "noise": 0.2, "sharpen": 0.1,
    "resample": 0.15, "tone": 0.08, "colour": 0.07, "jpeg": 0.1,
}  # fmt: skip
"""How often each filter is drawn at hardness 0 and 1."""
REACH = 12
"""Pixels around the region that filters look at."""


def enhancement(base: Crop, draw: Callable[[], Crop], rng: np.random.Generator, hardness: float) -> Sample:
    """``base`` with one filter under one region; ``draw`` is not used.

    ``hardness`` 0 gives strong filters only, 1 any strength.
    """
    del draw
    mask, shape = region(len(base.frame), rng, labels=base.labels)
    name = pick(rng, mixed(EASY, HARD, hardness))
    strength = between(rng, 0.7 - 0.6 * hardness, 1.0)
    where = bounds(mask, REACH)
    changed = filtered(base.frame[where], name, strength, rng)
    inside = mask[where]
    opacity = feather(inside, width=between(rng, 1, 4)) if rng.random() < 0.4 else inside.astype(np.float32)
    frame = base.frame.copy()
    frame[where] = mix(base.frame[where], changed, opacity)
    recipe = {"kind": "enhancement", "origin": base.origin, "shape": shape, "filter": name, "strength": strength}
    return Sample(frame, mask, recipe)


def filtered(  # noqa: PLR0911 - one return per filter
    frame: Frame, name: str, strength: float, rng: np.random.Generator
) -> Frame:
    """The whole frame through filter ``name``; ``strength`` in [0, 1]."""
    sign = 1.0 if rng.random() < 0.5 else -1.0
    match name:
        case "blur":
            return filters.gaussian(frame, 0.4 + 2.2 * strength)
        case "median":
            return filters.median(frame, 3 if strength < 0.5 else 5)
        case "noise":
            return filters.noise(frame, 1.5 + 12 * strength, rng)
        case "sharpen":
            return filters.sharpen(frame, 0.5 + 2 * strength)
        case "resample":
            return filters.resample(frame, 0.85 - 0.55 * strength)
        case "tone":
            return filters.tone(frame, gain=1 + sign * 0.35 * strength, bias=0.0, gamma=1 + 0.4 * sign * strength)
        case "colour":
            return filters.colour(frame, 1 + 0.3 * strength * rng.uniform(-1, 1, 3), 1 + sign * 0.8 * strength)
        case _:
            return random_jpeg(frame, rng, lowest=int(85 - 60 * strength), highest=int(92 - 40 * strength))[0]
