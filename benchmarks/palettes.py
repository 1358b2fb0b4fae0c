"""How many pictures that were reduced to a palette ``sdk.content`` finds, and how many photographs it takes for one.

    python -m benchmarks.palettes --photographs FOLDER

Photographs are those of the folder's held-out part, as they are, shrunk, cut, black and white, dark, of strong contrast
and compressed; each is also reduced, in colour, small, dark and without colour, by every quantiser of Pillow to 16, 64
and 256 colours, with and without dithering. Writes ``benchmarks/results/palettes.json``.
"""

from __future__ import annotations

import argparse
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.entry import RESULTS, rounded
from benchmarks.provenance import provenance
from sdk.content import PALETTE, PALETTE_GAP, PALETTE_PIXELS, SCALE, SCALE_GAP, content
from training.data import Photographs

Frame = NDArray[np.uint8]

BOUNDS = {
    "colours": PALETTE,
    "gap": PALETTE_GAP,
    "shades": SCALE,
    "gap_of_shades": SCALE_GAP,
    "least_pixels": PALETTE_PIXELS,
}
QUALITIES = (10, 20, 30, 50, 75, 95)
SIDES = (64, 90, 128, 256)
"""Of the parts that are cut out, px."""
QUANTISERS = {"median cut": Image.Quantize.MEDIANCUT, "octree": Image.Quantize.FASTOCTREE}
COLOURS = (16, 64, 256)
LONGEST = 512
"""Sides of what is reduced are cut to it, px: quantisers take their time."""


def natural(frame: Frame, rng: np.random.Generator) -> Iterator[tuple[str, Frame]]:
    """Photographs made of one, by name; nothing here chooses a few colours."""
    height, width = frame.shape[:2]
    yield "as it is", frame
    yield "black and white", grey(frame)
    yield "sepia", (grey(frame) * np.array([1.0, 0.74, 0.43])).astype(np.uint8)
    for times in (2, 4):
        yield f"shrunk {times} times", shrunk(frame, times)
    for side in (side for side in SIDES if side <= min(height, width)):
        top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        part = frame[top : top + side, left : left + side]
        yield f"part of {side} px", part
        yield f"part of {side} px, black and white", grey(part)
        yield f"part of {side} px, jpeg 10", compressed(part, 10)
        yield f"part of {side} px, jpeg 20, black and white", grey(compressed(part, 20))
        yield f"part of {side} px, contrast 2", contrasted(part, 2)
        yield f"part of {side} px, contrast 2, black and white", contrasted(grey(part), 2)
    for divisor in (4, 8, 16):
        yield f"a {divisor}th of the light", frame // divisor
    yield "an 8th of the light, jpeg 30", compressed(frame // 8, 30)
    for exponent in (1 / 3, 3.0):
        yield f"to the power of {exponent:.2g}", curved(frame, exponent)
    for times in (2, 4):
        yield f"contrast {times}", contrasted(frame, times)
        yield f"contrast {times}, black and white", contrasted(grey(frame), times)
    level = cv2.equalizeHist(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
    yield "equalised, black and white", np.repeat(level[:, :, None], 3, axis=2)
    yield "an 8th of the contrast", 100 + frame // 8
    for quality in QUALITIES:
        yield f"jpeg {quality}", compressed(frame, quality)
        yield f"jpeg {quality}, black and white", grey(compressed(frame, quality))


def reduced(frame: Frame, rng: np.random.Generator) -> Iterator[tuple[str, Frame]]:
    """Pictures of few colours made of a photograph, by name."""
    side = 128
    small, frame = shrunk(frame, 2), frame[:LONGEST, :LONGEST]
    top, left = (rng.integers(0, length - side + 1) for length in frame.shape[:2])
    sources = {
        "whole": frame,
        "shrunk 2 times": small[:LONGEST, :LONGEST],
        f"part of {side} px": frame[top : top + side, left : left + side],
        "a 4th of the light": frame // 4,
        "black and white": grey(frame),
    }
    for source, pixels in sources.items():
        picture = Image.fromarray(pixels)
        for colours in COLOURS:
            for quantiser, method in QUANTISERS.items():
                plain = picture.quantize(colours, method=method)
                dithered = picture.quantize(palette=plain, dither=Image.Dither.FLOYDSTEINBERG)
                yield f"{source}, {quantiser} {colours}", rgb(plain)
                yield f"{source}, {quantiser} {colours}, dithered", rgb(dithered)
        for how, dither in (("", Image.Dither.NONE), (", dithered", Image.Dither.FLOYDSTEINBERG)):
            yield f"{source}, web palette{how}", rgb(picture.convert("P", palette=Image.Palette.WEB, dither=dither))
    yield "16 levels, spread over all", frame // 16 * 17
    yield "whole, median cut 256, then jpeg 90", compressed(rgb(Image.fromarray(frame).quantize(256)), 90)


def rgb(picture: Image.Image) -> Frame:
    """Its pixels, [H, W, 3]."""
    return np.asarray(picture.convert("RGB"))


def grey(frame: Frame) -> Frame:
    """The luma in every channel, [H, W, 3]."""
    return rgb(Image.fromarray(frame).convert("L"))


def shrunk(frame: Frame, times: int) -> Frame:
    """Averages over squares of ``times`` px."""
    height, width = frame.shape[:2]
    return np.asarray(cv2.resize(frame, (width // times, height // times), interpolation=cv2.INTER_AREA), np.uint8)


def compressed(frame: Frame, quality: int) -> Frame:
    """What a JPEG of ``quality`` holds of it."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    return rgb(Image.open(file))


def contrasted(frame: Frame, times: int) -> Frame:
    """Levels ``times`` as far from the middle, cut at black and white."""
    return ((frame.astype(np.int16) - 128) * times + 128).clip(0, 255).astype(np.uint8)


def curved(frame: Frame, exponent: float) -> Frame:
    """Levels of 0..1 to the power of ``exponent``."""
    curve = (255 * (np.arange(256) / 255) ** exponent).round().astype(np.uint8)
    return np.asarray(curve[frame])


def counted(
    photographs: Photographs,
    made: Callable[[Frame, np.random.Generator], Iterator[tuple[str, Frame]]],
) -> dict[str, dict[str, int]]:
    """By name: how many pictures were made, and how many are inconclusive as palettes and for all that they show."""
    total, palettes, inconclusive = Counter[str](), Counter[str](), Counter[str]()
    for index in range(len(photographs.rows)):
        frame = photographs.pixels(index)[0]
        for name, picture in made(frame, np.random.default_rng(index)):
            total[name] += 1
            reason = content(picture).reason
            palettes[name] += "palette" in reason
            inconclusive[name] += reason != ""
    return {
        name: {"pictures": total[name], "palettes": palettes[name], "inconclusive": inconclusive[name]}
        for name in total
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.palettes", description=__doc__)
    parser.add_argument("--photographs", type=Path, required=True, help="folder of authentic photographs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    photographs = Photographs(options.photographs, "validation")
    result = {
        "schema": 1,
        "kind": "palettes",
        "provenance": provenance(),
        "photographs": len(photographs.rows),
        "bounds": BOUNDS,
        "natural": counted(photographs, natural),
        "reduced": counted(photographs, reduced),
    }
    options.results.mkdir(parents=True, exist_ok=True)
    target = options.results / "palettes.json"
    text = json.dumps(rounded(result, hide=str(options.photographs)), indent=2)
    target.write_text(text + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
