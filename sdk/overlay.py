"""Draw what was found on the frame: the heatmap in colour, the mask's outline, the verdict in words."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sdk.errors import BadSetting, UnsupportedImage
from sdk.overlay_mark import exif

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.results import Analysis

MIN_SIDE = 360
"""Short side to which smaller frames are enlarged by a whole factor, so that outline and words stay legible, px."""
MAX_SIDE = 4 * MIN_SIDE
"""Long side over which no frame is enlarged, px; with it the overlay's size is bounded."""
SHEET = 8192
"""Longest side of a sheet of several overlays, px."""
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

_COLOURS = {
    "manipulated": (200, 40, 45),
    "suspicious": (214, 128, 20),
    "inconclusive": (95, 105, 120),
    "no_evidence": (40, 125, 85),
}
_INK, _PAPER = (235, 238, 242), (24, 27, 32)


def draw(analysis: Analysis) -> NDArray[np.uint8]:  # [H', W', 3] RGB
    """The frame with everything on it and a legend below it, so that no pixel is covered by words."""
    height, width = analysis.frame.shape[:2]
    factor = max(1, min(-(-MIN_SIDE // min(height, width)), MAX_SIDE // max(height, width)))
    picture = _enlarged(analysis.frame, factor)
    if analysis.heatmap is not None:
        picture = _heated(picture, _enlarged(analysis.heatmap, factor))
        _outline(picture, _enlarged(analysis.heatmap, factor) >= analysis.mask_threshold)
    return np.concatenate([picture, _legend(analysis, picture.shape[1])])


def sheet(analyses: Sequence[Analysis]) -> NDArray[np.uint8]:  # [H', W', 3] RGB
    """What :func:`draw` makes of several analyses of one frame, in rows and columns, no side above ``SHEET``."""
    pictures = map(draw, analyses)
    first = next(pictures)
    columns = math.ceil(math.sqrt(len(analyses)))
    rows = math.ceil(len(analyses) / columns)
    scale = min(1.0, SHEET / (rows * first.shape[0]), SHEET / (columns * first.shape[1]))
    height, width = (max(int(side * scale), 1) for side in first.shape[:2])
    whole = np.full((rows * height, columns * width, 3), _PAPER, np.uint8)
    for place, picture in enumerate(itertools.chain([first], pictures)):
        top, left = place // columns * height, place % columns * width
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        whole[top : top + height, left : left + width] = small
    return whole


def save(analysis: Analysis, path: str | Path) -> Path:
    """Write :func:`draw` to ``path``, whole or not at all."""
    _target(path)
    return write(draw(analysis), path)


def write(picture: NDArray[np.uint8], path: str | Path) -> Path:
    """Write ``picture`` [H, W, 3] to ``path``, whole or not at all; the suffix says which format."""
    path, kind = _target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        Image.fromarray(picture).save(partial, kind, quality=92, exif=exif())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _target(path: object) -> tuple[Path, str]:
    """``path``, and the format that its suffix says."""
    if not isinstance(path, str | os.PathLike):
        raise BadSetting(
            f"an overlay cannot be written to {path!r:.80}", remedy="give the path of a file: photo-overlay.png"
        )
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise UnsupportedImage(
            f"an overlay cannot be written as {path.suffix or 'a file without suffix'}",
            remedy=f"use one of: {', '.join(FORMATS)}",
        )
    return path, kind


def _enlarged(array: NDArray, factor: int) -> NDArray:  # type: ignore[type-arg]
    return array.repeat(factor, axis=0).repeat(factor, axis=1) if factor > 1 else array


def _heated(
    picture: NDArray[np.uint8],  # [H, W, 3]
    heatmap: NDArray[np.float32],  # [H, W] in [0, 1]
) -> NDArray[np.uint8]:
    """Colours that cover a pixel the more, the surer the model is; where it sees nothing the frame stays as it is."""
    colours = cv2.applyColorMap((255 * heatmap.clip(0, 1)).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    weight = (0.7 * heatmap.clip(0, 1))[:, :, None]
    mixed: NDArray[np.float32] = picture * (1 - weight) + colours * weight
    return mixed.round().astype(np.uint8)


def _outline(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    """The mask's border, light on dark so that it is seen on any picture."""
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(min(mask.shape) / 400))
    cv2.drawContours(picture, contours, -1, (0, 0, 0), 3 * thickness, cv2.LINE_AA)
    cv2.drawContours(picture, contours, -1, (255, 255, 255), thickness, cv2.LINE_AA)


def _legend(analysis: Analysis, width: int) -> NDArray[np.uint8]:  # [h, width, 3]
    """Verdict and score, then what said so, then the scale of the colours where there is room."""
    size = max(14, min(width // 28, 64))
    pad = size // 2
    strip = Image.new("RGB", (width, 2 * size + 3 * pad), _PAPER)
    pen = ImageDraw.Draw(strip)
    words = analysis.verdict.name.replace("_", " ").upper()
    font, small = ImageFont.load_default(size), ImageFont.load_default(max(10, 2 * size // 3))
    badge = pen.textlength(words, font)
    pen.rounded_rectangle((pad, pad, badge + 2 * pad, 2 * pad + size), pad // 2, fill=_COLOURS[analysis.verdict.name])
    pen.text((1.5 * pad, 1.5 * pad + size / 2), words, _INK, font, anchor="lm")
    score = f"score {analysis.score:.3f}" + ("" if analysis.localised else ", not localised")
    pen.text((badge + 3 * pad, 1.5 * pad + size / 2), score, _INK, font, anchor="lm")
    preview = ", preview weights" if analysis.runtime.status == "preview" else ""
    source = f"{analysis.runtime.model} {analysis.runtime.version}{preview}"
    pen.text((pad, 2.4 * pad + 1.5 * size), source, (150, 156, 165), small, anchor="lm")
    _scale(
        strip, left=int(pad + pen.textlength(source, small)) + 2 * size, size=size, threshold=analysis.mask_threshold
    )
    return np.asarray(strip)


def _scale(strip: Image.Image, *, left: int, size: int, threshold: float) -> None:
    """The colours from 0 to 1 at the lower right, with a tick at the mask's threshold; nothing if it does not fit."""
    length, pad = 7 * size, size // 2
    right = strip.width - pad - size
    if right - length < left:
        return
    ramp = cv2.applyColorMap(np.linspace(0, 255, length, dtype=np.uint8)[None], cv2.COLORMAP_INFERNO)[:, :, ::-1]
    top, bottom = size + 2 * pad + pad, size + 2 * pad + pad + size // 2
    strip.paste(Image.fromarray(np.ascontiguousarray(ramp.repeat(bottom - top, axis=0))), (right - length, top))
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(max(10, 2 * size // 3))
    tick = right - length + round(threshold * (length - 1))
    pen.line((tick, top - pad // 3, tick, bottom + pad // 3), _INK, max(1, size // 12))
    pen.text((right - length - pad // 2, (top + bottom) / 2), "0", _INK, font, anchor="rm")
    pen.text((right + pad // 2, (top + bottom) / 2), "1", _INK, font, anchor="lm")
