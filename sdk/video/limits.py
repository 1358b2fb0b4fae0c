"""How much a video may ask of this machine before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from sdk.limits import Limits


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoLimits(Limits):
    """What one video may cost. A limit that is exceeded on the way ends the stream, after the frames before it."""

    bytes: int = 8 * 2**30
    """Size of the file, bytes; a live source has none."""
    pixels: int = 36_000_000
    """Width times height of a frame, from the header and again for every frame; 8K has 33 million."""
    frames: int = 2_000_000
    """Frames of the file, 18 hours at 30 a second; a live source may go on for ever."""
    seconds: float = 10.0
    """Time for opening, and for each frame; kept by stopping the worker process, so not with ``decode="inline"``."""
    memory: int = 4 * 2**30
    """Address space of the worker process, bytes; 8K with sixteen reference frames needs a third of it."""
