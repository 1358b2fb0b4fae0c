"""Any iterable of frames: of what ``Analyzer.analyze`` takes, or of pairs (seconds from the start, frame)."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from numbers import Real
from typing import TYPE_CHECKING, cast

from sdk.batches import is_one
from sdk.source import Captured

if TYPE_CHECKING:
    from sdk.source import Settings

RANK = 40


def claims(source: object) -> bool:
    """Whether ``source`` can be iterated over; of a path, a file or one frame the elements are no frames."""
    return isinstance(source, Iterable) and not is_one(source)


def read(source: object, settings: Settings) -> Generator[Captured]:
    """Each element; it is closed with the stream if it can be."""
    elements = iter(cast("Iterable[object]", source))
    try:
        for element in elements:
            is_pair = isinstance(element, tuple) and len(element) == 2 and isinstance(element[0], Real)
            time_s, picture = cast("tuple[float, object]", element) if is_pair else (None, element)
            yield Captured(picture, time_s=None if time_s is None else float(time_s))  # PyAV's are fractions
    finally:
        if hasattr(elements, "close"):
            elements.close()
