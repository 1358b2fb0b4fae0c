"""Whether a JPEG's pixels were all in the file: libjpeg fills what is missing with flat blocks and says nothing."""

from __future__ import annotations

import io
import re
from typing import BinaryIO

from PIL import Image, ImageChops
from PIL.JpegImagePlugin import JpegImageFile

START_OF_SCAN = 0xDA
MARKER_IN_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""A marker that ends a scan, with its fill bytes: neither a stuffed zero nor a restart."""
MORE_SCANS = (0xC4, 0xDA, 0xDB, 0xDC, 0xDD)
"""Markers that come between scans: tables, the next scan, the number of lines, the restart interval."""
OTHER_BITS = b"\x5a\xc3\x17\x99" * 64


def is_cut_off(file: BinaryIO, image: Image.Image) -> bool:
    """Whether a sequential JPEG, decoded to ``image``, ended before its last block although its end marker is there.

    Bits put in front of the end marker are read only where blocks are missing, so they change such a picture and no
    other. That costs a second decoding, hence only where the last block is flat, as filling leaves it. Progressive
    files lack detail instead of blocks when they are cut, and are not judged.
    """
    if "progression" in image.info or not _is_flat(image):
        return False
    file.seek(0)
    data = file.read()
    scan = _scan_start(data)
    end = MARKER_IN_SCAN.search(data, scan) if scan else None
    if end is None or end.group()[-1] in MORE_SCANS:
        return False
    try:
        with JpegImageFile(io.BytesIO(data[: end.start()] + OTHER_BITS + b"\xff\xd9")) as other:
            return ImageChops.difference(image, other.copy()).getbbox(alpha_only=False) is not None
    except OSError:  # the added bits were read, and make no sense
        return True


def _is_flat(image: Image.Image) -> bool:
    """Whether the last 8x8 block has one colour."""
    width, height = image.size
    corner = image.crop(((width - 1) // 8 * 8, (height - 1) // 8 * 8, width, height))
    return all(band.getextrema()[0] == band.getextrema()[1] for band in corner.split())


def _scan_start(data: bytes) -> int:
    """Where the bits of the first scan begin; 0 where there is none."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == START_OF_SCAN:
            return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0
