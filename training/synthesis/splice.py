"""Splicing: a region of another photograph, moved, deformed, relit and aged, pasted into the base."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.synthesis import filters
from training.synthesis.blend import paste
from training.synthesis.compression import random_jpeg
from training.synthesis.sample import Crop, Frame, Mask, Sample, between, mixed, pick
from training.synthesis.shapes import AREA, legal, region
from training.synthesis.warp import Piece, bent, placement, shift, tilted, warped

EASY_PASTS = {"noise": 0.5, "blur": 0.25, "resample": 0.25}
PASTS = {"jpeg": 0.5, "noise": 0.2, "blur": 0.15, "resample": 0.15}
"""How often a donor went through each at hardness 0 and 1, if it did."""
DEFORMATIONS = {"none": 0.75, "perspective": 0.13, "elastic": 0.12}


def splice(base: Crop, draw: Callable[[], Crop], rng: np.random.Generator, hardness: float) -> Sample:
    """``base`` with a region of a drawn donor; ``hardness`` makes donors match the base's tone more often."""
    donor = draw()
    if donor.origin == base.origin:  # once more: another camera is what makes it a splice
        donor = draw()
    outline, shape = region(len(base.frame), rng, labels=donor.labels)
    piece, deformation = deformed(outline, donor.frame, rng)
    here = base.frame[piece.where]
    patch, past = aged(piece.pixels, rng, hardness)
    patch, light = relit(patch, here, piece.mask, rng=rng, hardness=hardness)
    frame, mask = base.frame.copy(), np.zeros_like(outline)
    frame[piece.where], edge = paste(here, patch, piece.mask, rng)
    mask[piece.where] = piece.mask
    made = {"origin": base.origin, "donor": donor.origin, "shape": shape, "deformation": deformation}
    return Sample(frame, mask, {"kind": "splice", **made, "past": past, "light": light, "edge": edge})


def deformed(outline: Mask, frame: Frame, rng: np.random.Generator) -> tuple[Piece, str]:
    """The region moved and perhaps deformed, with how; where little of it would be left, it stays where it was."""
    name = pick(rng, DEFORMATIONS)
    move = placement(outline, rng)
    if name == "perspective":
        move = tilted(move, outline, rng)
    piece = warped(outline, frame, move, bend=bent(outline, rng) if name == "elastic" else None)
    if piece is not None and AREA[0] <= piece.mask.sum() / outline.size <= AREA[1]:
        return piece, name
    still = warped(outline, frame, shift(np.zeros(2)))
    if still is None or not legal(outline):
        raise ValueError("a region of no legal area was drawn\n  -> draw it with training.synthesis.shapes.region")
    return still, "none"


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
