"""Any iterable of frames: of what ``Analyzer.analyze`` takes, or of pairs (seconds from the start, frame)."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, cast

from sdk.source import Captured

if TYPE_CHECKING:
    from sdk.source import Settings

RANK = 40


def claims(source: object) -> bool:
    """Whether ``source`` can be iterated over; text and bytes are names or files, not frames."""
    return isinstance(source, Iterable) and not isinstance(source, str | bytes | bytearray | memoryview)


def read(source: object, settings: Settings) -> Generator[Captured]:
    """Each element; it is closed with the stream if it can be."""
    elements = iter(cast("Iterable[object]", source))
    try:
        for element in elements:
            is_pair = isinstance(element, tuple) and len(element) == 2 and isinstance(element[0], int | float)
            time_s, picture = cast("tuple[float, object]", element) if is_pair else (None, element)
            yield Captured(picture, time_s=time_s)
    finally:
        if hasattr(elements, "close"):
            elements.close()
