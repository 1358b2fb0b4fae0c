"""What an Analyzer makes of whatever it is given, before it analyses it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sdk.errors import BadSetting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdk.decoding import Decoded
    from sdk.engines.resident import Resident


@dataclasses.dataclass(frozen=True, slots=True)
class Input:
    """A frame as stored, and how it was reached."""

    frame: NDArray[np.uint8] | Resident
    """[H, W, 3] RGB; in GPU memory if it was given there and is run there."""
    orientation: int
    decoder: str
    notes: tuple[str, ...]
    decode_ms: float
    is_video: bool = False
    """Whether it comes from a video, whose codec moves scores: other thresholds hold."""
    quality: int | None = None
    """Of a JPEG, as :mod:`sdk.jpeg_quality` tells it."""

    @classmethod
    def of(cls, decoded: Decoded, ms: float) -> Input:
        """A file's pixels, decoded in ``ms``."""
        return cls(decoded.frame, decoded.orientation, decoded.decoder, decoded.notes, ms, quality=decoded.quality)


def given(array: object, decoder: str | None) -> str:
    """What results name in place of a decoder of ours: the kind of ``array``, and what its owner says has made it."""
    kind = f"none: {type(array).__module__.partition('.')[0]}.{type(array).__name__}"
    if decoder is None:
        return kind
    if not isinstance(decoder, str) or not decoder:
        raise BadSetting(f"decoder is {decoder!r:.80}", remedy="give name and version of what made the array, or None")
    return f"{kind}, decoded by {decoder}"
