"""A contact sheet of samples, worth looking at before hours of training are spent on them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from training.synthesis.sample import Frame, Sample

TINT = np.array([255, 40, 40], np.float32)
COLUMNS = 4


def overlay(sample: Sample) -> Frame:
    """The frame with its manipulated pixels half red."""
    tinted = 0.5 * sample.frame + 0.5 * TINT
    return np.where(sample.mask[..., None], tinted, sample.frame).astype(np.uint8)


def contact_sheet(samples: Sequence[Sample]) -> Frame:
    """Frame, mask and overlay of every sample with its kind written on it; samples are of one size."""
    tiles = [_tile(sample) for sample in samples]
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % COLUMNS)
    return np.vstack([np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)])


def _tile(sample: Sample) -> Frame:
    mask = np.repeat(sample.mask[..., None] * np.uint8(255), 3, axis=2)
    tile = np.ascontiguousarray(np.hstack([sample.frame, mask, overlay(sample)]))
    side = len(sample.frame)
    _write(tile, _title(sample), (4, 14))
    life = sample.recipe.get("life", [])
    steps = ", ".join(life) if isinstance(life, list) else ""
    _write(tile, steps[: side // 6], (side + 4, side - 6))
    return tile


def _title(sample: Sample) -> str:
    """The kind, and how it was done where the recipe says."""
    kind, *how = (sample.recipe.get(key) for key in ("kind", "fill", "filter", "means", "edge"))
    return " ".join(str(part) for part in (kind, *how) if part)


def _write(tile: Frame, text: str, where: tuple[int, int]) -> None:
    for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thick, cv2.LINE_AA)
