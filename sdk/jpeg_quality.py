"""How strongly a JPEG was compressed, from the steps of quantisation in its header.

Imported by the worker process, therefore without NumPy.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

from PIL import Image

BRIGHTNESS = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""Steps of quality 50 for brightness: ITU-T T.81, table K.1."""


def quality_of(image: Image.Image) -> int | None:
    """Quality of the JPEG that ``image`` was opened from, 1 to 100; None for every other picture."""
    tables = getattr(image, "quantization", None)
    return quality(tables[min(tables)]) if tables else None


def quality(steps: Iterable[int]) -> int:
    """The quality on libjpeg's scale, 1 to 100, whose steps for brightness come nearest to these in geometric mean.

    Exact for files of libjpeg and of what follows its scale, else a comparison: cameras and editors have scales of
    their own.
    """
    found = _strength(steps)
    return min(range(1, 101), key=lambda quality: abs(_of_quality(quality) - found))


@functools.cache
def _of_quality(quality: int) -> float:
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return _strength(min(255, max(1, (step * percent + 50) // 100)) for step in BRIGHTNESS)


def _strength(steps: Iterable[int]) -> float:
    return sum(math.log(max(1, step)) for step in steps)  # a damaged or hostile header may have steps of 0
