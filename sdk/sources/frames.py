"""Any iterable of frames: of what ``Analyzer.analyze`` takes, or of pairs (seconds from the start, frame)."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping
from numbers import Real
from typing import TYPE_CHECKING, cast

from sdk.batches import is_one
from sdk.errors import BadFrame
from sdk.source import Captured

if TYPE_CHECKING:
    from sdk.source import Settings

RANK = 40


def claims(source: object) -> bool:
    """Whether ``source`` can be iterated over; of a path, a file, a mapping or one frame the elements are no frames."""
    is_other = isinstance(source, Mapping) or hasattr(source, "readline")
    return isinstance(source, Iterable) and not is_one(source) and not is_other


def read(source: object, settings: Settings) -> Generator[Captured]:
    """Each element; it is closed with the stream if it can be."""
    elements = iter(cast("Iterable[object]", source))
    try:
        for element in elements:
            time_s, picture = _pair(element) if isinstance(element, tuple) else (None, element)
            yield Captured(picture, time_s=time_s)
    finally:
        if hasattr(elements, "close"):
            elements.close()


def _pair(element: tuple[object, ...]) -> tuple[float, object]:
    """Seconds from the start and a frame; :class:`BadFrame` where they are not."""
    if len(element) != 2 or not isinstance(element[0], Real):
        kinds = ", ".join(type(one).__name__ for one in element)
        raise BadFrame(
            f"a pair is (seconds from the start, frame), got ({kinds})",
            remedy="give a number of seconds, or the frame alone where its time is not known",
        )
    time_s = float(element[0])  # PyAV's seconds are fractions
    if not math.isfinite(time_s):
        raise BadFrame(
            f"a frame's time is {time_s} seconds",
            remedy="give seconds from the start, or the frame alone where its time is not known",
        )
    return time_s, element[1]
