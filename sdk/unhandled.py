"""Files that are whole and of a kind that no decoder here takes: what they hold, so that they are not called damaged.

Pillow names neither: a picture of floating-point colours is to it as unreadable as one that lacks its end.
"""

from __future__ import annotations

from typing import BinaryIO

from PIL.ExifTags import Base
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import COMPRESSION_INFO, SAMPLEFORMAT, ImageFileDirectory_v2

from sdk.errors import UnsupportedImage

FORMS = {1: "unsigned integers", 2: "signed integers", 3: "floating-point numbers", 5: "complex integers"}
"""TIFF's tag SampleFormat in words."""
BIG_TIFF = 43


def unhandled(file: BinaryIO, head: bytes, name: str) -> UnsupportedImage | None:
    """The error for a TIFF or JPEG whose header can be read and whose samples cannot; None for any other file."""
    try:
        held = _in_tiff(file, head) if head[:2] in (b"II", b"MM") else _in_jpeg(file) if head[:2] == b"\xff\xd8" else ""
    except Exception:  # on a broken header Pillow raises what it likes
        return None
    if not held:
        return None
    return UnsupportedImage(
        f"{name} is of a kind that is not handled: {held}",
        remedy="save the picture as PNG, or as grey, RGB or RGBA with 8 or 16 unsigned bits a sample",
    )


def _in_tiff(file: BinaryIO, head: bytes) -> str:
    """Compression or samples of the first page."""
    tags = ImageFileDirectory_v2(head[: 16 if BIG_TIFF in head[2:4] else 8])
    file.seek(tags.next)
    tags.load(file)
    compression = tags.get(Base.Compression, 1)
    if not (Base.ImageWidth in tags and Base.ImageLength in tags):
        return ""
    if compression not in COMPRESSION_INFO:
        return f"a TIFF with compression {compression}"
    bits, forms = tags.get(Base.BitsPerSample, (1,)), tags.get(SAMPLEFORMAT, (1,))
    samples = tags.get(Base.SamplesPerPixel, len(bits))
    form = FORMS.get(forms[0], f"numbers of form {forms[0]}")
    return f"a TIFF with {samples} {'sample' if samples == 1 else 'samples'} a pixel, {form} of {bits[0]} bits"


def _in_jpeg(file: BinaryIO) -> str:
    """Its layers, in Pillow's words."""
    file.seek(0)
    try:
        JpegImageFile(file)
    except SyntaxError as error:
        return f"a JPEG, and Pillow {error}" if str(error).startswith("cannot handle") else ""
    return ""
