"""How much a file may ask of this process before it is refused."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields

from sdk.errors import BadSetting, LargePicture, LimitExceeded

LONGEST = 1_000_000
"""Seconds of a limit at most: the system's own clocks count milliseconds in 32 bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one file may cost; whatever exceeds a limit is refused with an error that names the limit."""

    bytes: int = 64 * 2**20
    """Size of the file, bytes."""
    pixels: int = 100_000_000
    """Width times height, read from the header before any pixel is decoded."""
    frames: int = 1
    """Frames of an animation or pages of a document. Only the first is analysed, so one that has more is refused unless
    this is raised. Pictures that cameras store beside the photograph (MPO, HEIF) do not count."""
    seconds: float = 5.0
    """Time for header and pixels of one file; kept by stopping the worker process, so not with ``decode="inline"``."""
    memory: int = 2 * 2**30
    """Address space of the worker process, bytes; a 100-megapixel file with alpha needs about half of it."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kinds, most = ((int,), sys.maxsize) if isinstance(field.default, int) else ((int, float), LONGEST)
            if isinstance(value, bool) or not isinstance(value, kinds) or not value <= most:  # nan is not, either
                raise BadSetting(
                    f"{type(self).__name__}({field.name}={value!r}) is no limit",
                    remedy=f"give {'a whole number' if most == sys.maxsize else 'a number'} up to {most:,}",
                )
            if value <= 0:
                raise LimitExceeded(
                    f"{type(self).__name__}({field.name}={value}) lets no file pass",
                    remedy=f"give a number above 0; the default is {field.default}",
                )


def parameter(limits: Limits, **values: object) -> str:
    """How whoever loads or streams gives other limits, as Python is written."""
    told = ", ".join(f"{name}={value}" for name, value in values.items())
    return f"limits=sdk.{type(limits).__name__}({told})"


def raising(limits: Limits, **values: object) -> str:
    """The remedy for who trusts the input."""
    return f"if it is trusted, raise it: {parameter(limits, **values)}"


def check_bytes(name: str, size: int, limits: Limits) -> None:
    """Refuse a file of ``size`` bytes that is larger than ``limits.bytes``."""
    if size > limits.bytes:
        raise LimitExceeded(
            f"{name} has {size:,} bytes, over the limit bytes={limits.bytes:,}",
            remedy=raising(limits, bytes=size),
        )


def check_pixels(name: str, size: tuple[int, int], limits: Limits, *, decoded: bool = False) -> None:
    """Refuse a picture of ``size`` (width, height) px that has more pixels than ``limits.pixels``.

    One that is ``decoded`` already needs no memory in a worker.
    """
    width, height = size
    if width * height > limits.pixels:
        memory = raising(limits, pixels=width * height, memory="...")
        raise LimitExceeded(
            f"{name} is {width} x {height} = {width * height:,} pixels, over the limit pixels={limits.pixels:,}",
            remedy=raising(limits, pixels=width * height) if decoded else f"{memory}, about 12 bytes a pixel",
        )


def check_large(name: str, size: tuple[int, int], most: int) -> None:
    """Refuse a picture of ``size`` (width, height) px that has more than ``most`` pixels where somebody waits."""
    width, height = size
    if width * height > most:
        raise LargePicture(
            f"{name} is {width} x {height} = {width * height:,} pixels, more than {most:,}",
            remedy="analyse it where nobody waits for it",
        )


def check_frames(name: str, frames: int, limits: Limits) -> None:
    """Refuse an animation or document of more than ``limits.frames`` frames."""
    if frames > limits.frames:
        raise LimitExceeded(
            f"{name} has {frames} frames or pages, over the limit frames={limits.frames}",
            remedy=f"extract those to be analysed, or let the first stand for all: {parameter(limits, frames=frames)}",
        )
