"""How much a file may ask of this process before it is refused."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sdk.errors import LimitExceeded


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
            if getattr(self, field.name) <= 0:
                raise LimitExceeded(
                    f"{type(self).__name__}({field.name}={getattr(self, field.name)}) lets no file pass",
                    remedy=f"give a number above 0; the default is {field.default}",
                )


def check_bytes(name: str, size: int, limits: Limits) -> None:
    """Refuse a file of ``size`` bytes that is larger than ``limits.bytes``."""
    if size > limits.bytes:
        raise LimitExceeded(
            f"{name} has {size:,} bytes, over the limit bytes={limits.bytes:,}",
            remedy=f"if it is trusted, raise it: {type(limits).__name__}(bytes={size})",
        )


def check_pixels(name: str, size: tuple[int, int], limits: Limits) -> None:
    """Refuse a picture of ``size`` (width, height) px that has more pixels than ``limits.pixels``."""
    width, height = size
    if width * height > limits.pixels:
        raise LimitExceeded(
            f"{name} is {width} x {height} = {width * height:,} pixels, over the limit pixels={limits.pixels:,}",
            remedy=f"if it is trusted, raise it: {type(limits).__name__}(pixels={width * height}, memory=...), "
            "about 12 bytes a pixel",
        )


def check_frames(name: str, frames: int, limits: Limits) -> None:
    """Refuse an animation or document of more than ``limits.frames`` frames."""
    if frames > limits.frames:
        raise LimitExceeded(
            f"{name} has {frames} frames or pages, over the limit frames={limits.frames}",
            remedy=f"extract the frames to be analysed, or let the first stand for all: Limits(frames={frames})",
        )
