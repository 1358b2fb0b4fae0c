"""Files that end within a packet where FFmpeg says nothing of it.

Imported by the worker process, therefore without NumPy.
"""

from __future__ import annotations

import os
from typing import BinaryIO

TS_PACKET = 188
"""Bytes; every packet of a transport stream begins with the letter G."""
TAG_HEAD, TAG_TAIL = 11, 4
"""Bytes before and after the content of a tag, which is what FLV calls a packet."""
TAGS = {8, 9, 18}
"""Sound, pictures and texts, in the lower five bits of a tag's first byte."""


def within_packet(source: BinaryIO, container: str, *, last: int) -> bool:
    """Whether ``source`` ends within a packet.

    Args:
        source: the file, which is left at any place.
        container: FFmpeg's name of it.
        last: where the last packet with pictures begins, bytes; negative where that is not known.
    """
    size = source.seek(0, os.SEEK_END)
    if container == "mpegts":
        source.seek(0)
        return source.read(TS_PACKET + 1)[::TS_PACKET] == b"GG" and size % TS_PACKET > 0
    return container == "flv" and _within_tag(source, last, size)


def _within_tag(source: BinaryIO, at: int, size: int) -> bool:
    """Go from tag to tag; a length that is spoilt leads out of the file, or to what is no tag."""
    while 0 <= at < size:
        source.seek(at)
        head = source.read(4)
        if head[0] & 31 not in TAGS or len(head) < 4:
            return True
        at += TAG_HEAD + int.from_bytes(head[1:], "big") + TAG_TAIL
    return at > size + TAG_TAIL
