"""Splicing: a region of another photograph, moved, scaled, rotated and relit, pasted into the base."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthesis import filters
from training.synthesis.blend import paste
from training.synthesis.compression import random_jpeg
from training.synthesis.sample import Crop, Frame, Mask, Sample, between, mixed, pick
from training.synthesis.shapes import legal, region

EASY_PASTS = {"noise": 0.5, "blur": 0.25, "resample": 0.25}
PASTS = {"jpeg": 0.5, "noise": 0.2, "blur": 0.15, "resample": 0.15}
"""How often a donor went through each at hardness 0 and 1, if it did."""


def splice(base: Crop, draw: Callable[[], Crop], rng: np.random.Generator, hardness: float) -> Sample:
    """``base`` with a region of a drawn donor; ``hardness`` makes donors match the base's tone more often."""
    donor = draw()
    size = len(base.frame)
    outline, shape = region(size, rng, labels=donor.labels)
    move = placement(outline, rng)
    mask, patch = warped(outline, donor.frame, move)
    if not legal(mask):
        mask, patch = outline, donor.frame
    patch, past = aged(patch, rng, hardness)
    patch, light = relit(patch, base.frame, mask, rng=rng, hardness=hardness)
    frame, edge = paste(base.frame, patch, mask, rng)
    made = {"origin": base.origin, "donor": donor.origin, "shape": shape, "past": past, "light": light, "edge": edge}
    return Sample(frame, mask, {"kind": "splice", **made})


def placement(outline: Mask, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random affine map [2, 3] of a region: mirrored, scaled by 0.6..1.6, turned, centred anywhere inside."""
    size = len(outline)
    ys, xs = np.nonzero(outline)
    centre = np.array([xs.mean(), ys.mean()])
    angle = np.deg2rad(between(rng, -20, 20)) if rng.random() < 0.5 else 0.0
    scale = between(rng, 0.6, 1.6) if rng.random() < 0.5 else 1.0
    flip = -1.0 if rng.random() < 0.3 else 1.0
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([flip, 1.0])
    target = rng.uniform(0, 1, 2) * size
    if angle == 0 and scale == 1:
        target = centre + np.rint(target - centre)  # whole pixels: no resampling where none is meant
    return np.column_stack([turn, target - turn @ centre])


def warped(outline: Mask, frame: Frame, move: NDArray[np.float64]) -> tuple[Mask, Frame]:
    """The region and the pixels after the affine map ``move``; the frame is reflected beyond its border."""
    size = (outline.shape[1], outline.shape[0])
    mask = cv2.warpAffine(outline.astype(np.uint8), move, size, flags=cv2.INTER_NEAREST) > 0
    pixels = cv2.warpAffine(frame, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return mask, np.asarray(pixels, np.uint8)


def aged(patch: Frame, rng: np.random.Generator, hardness: float) -> tuple[Frame, str]:
    """The patch as another camera or another editor's habits would have left it, or as it is."""
    if rng.random() >= 1 - 0.7 * hardness:
        return patch, "kept"
    match name := pick(rng, mixed(EASY_PASTS, PASTS, hardness)):
        case "jpeg":
            return random_jpeg(patch, rng, lowest=45, highest=round(75 + 20 * hardness))[0], name
        case "noise":
            return filters.noise(patch, between(rng, 4 - 3 * hardness, 8), rng), name
        case "blur":
            return filters.gaussian(patch, between(rng, 0.9 - 0.5 * hardness, 1.6)), name
        case _:
            return filters.resample(patch, between(rng, 0.4, 0.6 + 0.3 * hardness)), name


def relit(patch: Frame, base: Frame, mask: Mask, *, rng: np.random.Generator, hardness: float) -> tuple[Frame, str]:
    """The patch as it is, brighter or darker, or with the mean and spread of the base under the mask."""
    if rng.random() < 0.4 * hardness:
        mine, theirs = patch[mask].astype(np.float64), base[mask].astype(np.float64)
        gain = np.clip((theirs.std(0) + 4) / (mine.std(0) + 4), 0.5, 1.5)
        return filters.rounded((patch - mine.mean(0)) * gain + 0.7 * theirs.mean(0) + 0.3 * mine.mean(0)), "matched"
    if rng.random() < 0.4:
        return filters.tone(patch, gain=between(rng, 0.85, 1.15), bias=between(rng, -20, 20), gamma=1.0), "shifted"
    return patch, "kept"
