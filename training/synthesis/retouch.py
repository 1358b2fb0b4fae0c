"""Retouching: text and shapes drawn on a picture, strokes of a brush, parts made unreadable by a mosaic."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.synthesis.blend import mix
from training.synthesis.sample import Crop, Frame, Mask, Sample, between, pick
from training.synthesis.shapes import AREA, bounds, region

MEANS = {"text": 0.4, "shape": 0.2, "strokes": 0.2, "mosaic": 0.2}
LEAST = 0.005
"""Smallest share of the frame that is drawn on; letters are thinner than regions."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
COLOURS = ((255, 255, 255), (0, 0, 0), (220, 30, 30), (250, 220, 40), (40, 90, 220))
Opacity = NDArray[np.float32]
"""[H, W] in [0, 1]."""


def retouch(base: Crop, draw: Callable[[], Crop], rng: np.random.Generator, hardness: float) -> Sample:
    """``base`` drawn upon; ``draw`` is not used. With ``hardness`` paint is more often see-through."""
    del draw
    size = len(base.frame)
    means = pick(rng, MEANS)
    if means == "mosaic":
        mask, _ = region(size, rng, labels=base.labels)
        return _sample(base, mosaic(base.frame, mask, rng), mask, means)
    painted = cover(size, means, rng)
    if not LEAST <= (painted > 0).mean() <= AREA[1]:
        mask, means = region(size, rng)[0], "shape"
        painted = mask.astype(np.float32)
    if rng.random() < 0.5 * hardness:
        painted = painted * np.float32(between(rng, 0.55, 0.95))
    random = tuple(int(value) for value in rng.integers(0, 256, 3))
    colour = random if rng.random() < 0.4 else COLOURS[int(rng.integers(len(COLOURS)))]
    paint = np.broadcast_to(np.array(colour, np.uint8), base.frame.shape)
    return _sample(base, mix(base.frame, paint, painted), painted > 0, means)


def _sample(base: Crop, frame: Frame, mask: Mask, means: str) -> Sample:
    return Sample(frame, mask, {"kind": "retouch", "origin": base.origin, "means": means})


def mosaic(frame: Frame, mask: Mask, rng: np.random.Generator) -> Frame:
    """The region in squares of one colour each."""
    where = bounds(mask, 0)
    part = frame[where]
    height, width = mask[where].shape
    side = between(rng, 0.02, 0.06) * len(frame) + 2
    cells = (max(round(width / side), 1), max(round(height / side), 1))
    coarse = cv2.resize(part, cells, interpolation=cv2.INTER_AREA)
    squares = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
    result = frame.copy()
    result[where] = np.where(mask[where][..., None], squares, part)
    return result


def cover(size: int, means: str, rng: np.random.Generator) -> Opacity:
    """How much of every pixel of a ``size`` x ``size`` frame is painted, with smooth edges."""
    if means == "text":
        return text(size, rng)
    canvas = np.zeros((size, size), np.uint8)
    thick = max(round(size * between(rng, 0.006, 0.03)), 1)
    if means == "strokes":
        for _ in range(int(rng.integers(1, 4))):
            knots = np.cumsum(np.vstack([rng.uniform(0.1, 0.9, (1, 2)), rng.normal(0, 0.12, (6, 2))]), axis=0) * size
            steps = np.clip(knots, 0, size).astype(np.int32)
            cv2.polylines(canvas, [steps], bool(rng.random() < 0.2), 255, thick, cv2.LINE_AA)
        return canvas.astype(np.float32) / 255
    first, last = rng.uniform(0.05, 0.95, (2, 2)) * size
    corners = tuple(int(v) for v in first), tuple(int(v) for v in last)
    fill = -1 if rng.random() < 0.4 else thick
    match pick(rng, {"arrow": 0.3, "rectangle": 0.4, "ellipse": 0.3}):
        case "arrow":
            cv2.arrowedLine(canvas, *corners, 255, thick, cv2.LINE_AA, tipLength=0.25)
        case "rectangle":
            cv2.rectangle(canvas, *corners, 255, fill, cv2.LINE_AA)
        case _:
            middle, axes = (first + last) / 2, np.abs(first - last) / 2 + 2
            cv2.ellipse(canvas, ((*middle,), (*(2 * axes),), between(rng, 0, 180)), 255, fill, cv2.LINE_AA)
    return canvas.astype(np.float32) / 255


def text(size: int, rng: np.random.Generator) -> Opacity:
    """One to three lines of letters and digits, level or turned."""
    height = max(size * between(rng, 0.06, 0.22), 9.0)
    letters = int(rng.integers(3, 12))
    lines = ["".join(rng.choice(list(LETTERS), letters)) for _ in range(int(rng.integers(1, 4)))]
    canvas = Image.new("L", (size, size))
    corner = rng.uniform(0.0, 0.5, 2) * size
    font = ImageFont.load_default(size=height)
    ImageDraw.Draw(canvas).multiline_text(
        (float(corner[0]), float(corner[1])), "\n".join(lines), fill=255, font=font, stroke_width=int(rng.integers(3))
    )
    if rng.random() < 0.3:
        canvas = canvas.rotate(between(rng, -45, 45), resample=Image.Resampling.BILINEAR)
    return np.asarray(canvas, np.float32) / 255
