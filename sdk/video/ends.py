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
START = b"\0\0\1"
"""Before the byte that says what a part of a program stream is."""
END, PACK = 0xB9, 0xBA
"""The parts of a program stream that do not tell their length; those below them are of no such stream."""
SECTOR = 2048
"""Bytes of which some may be zeros that fill it."""


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
    if container == "mpeg":
        return _within_part(source, last, size)
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


def _within_part(source: BinaryIO, at: int, size: int) -> bool:
    """Go from part to part of a program stream, over zeros that fill a sector; what is no part says nothing."""
    while 0 <= at < size:
        source.seek(at)
        head = source.read(SECTOR)
        if (zeros := len(head) - len(head.lstrip(b"\0"))) > 2:
            at += zeros - 2
            continue
        if head == START:
            return True
        head = head.ljust(14, b"\0")  # a head that ends early is taken for as long as it would be
        if not head.startswith(START) or head[3] < END:
            return False
        if head[3] == PACK:
            at += 14 + (head[13] & 7) if head[4] >> 6 == 1 else 12  # of MPEG-2, or of MPEG-1
        else:
            at += 4 if head[3] == END else 6 + int.from_bytes(head[4:6], "big")
    return at > size
