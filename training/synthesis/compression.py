"""Lossy coding of a frame in memory: JPEG at any grid offset, WebP."""

from __future__ import annotations

import cv2
import numpy as np

from training.synthesis.sample import Frame

BLOCK = 8
"""Side of a JPEG block, px."""


def jpeg(frame: Frame, quality: int, *, offset: tuple[int, int] = (0, 0), subsample: bool = True) -> Frame:
    """Code and decode; the block grid starts ``offset`` (rows, columns; 0..7) px before the frame's corner."""
    factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if subsample else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    top, left = offset
    shifted = cv2.copyMakeBorder(frame, top, 0, left, 0, cv2.BORDER_REFLECT_101) if top or left else frame
    how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    coded = cv2.imencode(".jpg", shifted[..., ::-1], how)[1]
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[top:, left:, ::-1])


def random_offset(rng: np.random.Generator) -> tuple[int, int]:
    """Where the block grid of a file lies on a window of it: at its corner, or as often anywhere."""
    return (0, 0) if rng.random() < 0.5 else (int(rng.integers(BLOCK)), int(rng.integers(BLOCK)))


def random_jpeg(frame: Frame, rng: np.random.Generator, *, lowest: int, highest: int = 98) -> tuple[Frame, int]:
    """One JPEG generation of random quality, grid offset and chroma sampling, with the quality."""
    quality = int(rng.integers(lowest, highest + 1))
    offset = random_offset(rng)
    return jpeg(frame, quality, offset=offset, subsample=bool(rng.random() < 0.7)), quality


def webp(frame: Frame, quality: int) -> Frame:
    """Code and decode as lossy WebP."""
    coded = cv2.imencode(".webp", frame[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])
