"""What is taken of a worker's answer: each member is checked, since a file may have taken the worker over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from sdk.pillow import readable

NOTES = 20
"""Notes at most."""


class Implausible(Exception):
    """No honest worker sends this."""


NONSENSE = (Implausible, OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What reading an answer raises where the worker did not write what it should."""


def orientation(value: Any) -> int:  # noqa: ANN401  whatever a worker sends
    """How the frame is to be turned, as EXIF counts."""
    if value not in range(1, 9):
        raise Implausible("answered with no orientation")
    return int(value)


def quality(value: Any) -> int | None:  # noqa: ANN401
    """Of a JPEG; None for any other file."""
    if value is not None and value not in range(1, 101):
        raise Implausible("answered with no quality")
    return None if value is None else int(value)


def time(value: Any) -> float:  # noqa: ANN401
    """Seconds or milliseconds."""
    if not math.isfinite(value):
        raise Implausible("answered with no time")
    return float(value)


def notes(values: Any) -> tuple[str, ...]:  # noqa: ANN401
    """One readable line each."""
    return tuple(readable(value) for value in values[:NOTES])


IMAGE: Mapping[str, Callable[[Any], Any]] = {
    "orientation": orientation,
    "format": readable,
    "decoder": readable,
    "quality": quality,
    "notes": notes,
}
VIDEO: Mapping[str, Callable[[Any], Any]] = {
    "time_s": time,
    "decode_ms": time,
    "orientation": orientation,
    "decoder": readable,
    "damage": readable,
    "notes": notes,
}


def taken(reply: Mapping[str, Any], members: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """The ``members`` of ``reply``; raises one of ``NONSENSE`` where one is missing or cannot be."""
    return {name: kind(reply[name]) for name, kind in members.items()}
