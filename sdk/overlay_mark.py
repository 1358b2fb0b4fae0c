"""What tells an overlay that was written here from a photograph: a mark in the file, by which it is passed over."""

from __future__ import annotations

from pathlib import Path

from PIL import ExifTags, Image

MARK = "overlay written by imdl-sdk"
"""Value of the EXIF tag Software, which PNG, JPEG and WebP all carry."""
EDGE = 1024
"""Bytes at either end of a file in which the tag stands."""


def exif() -> Image.Exif:
    """The tags of an overlay."""
    tags = Image.Exif()
    tags[ExifTags.Base.Software] = MARK
    return tags


def is_overlay(path: Path) -> bool:
    """Whether the file at ``path`` is an overlay; what cannot be read is none. Nothing is parsed."""
    try:
        if not path.is_file():  # a pipe would block
            return False
        with path.open("rb") as file:
            start = file.read(EDGE)
            file.seek(max(0, file.seek(0, 2) - EDGE))
            return MARK.encode() in start or MARK.encode() in file.read()
    except (OSError, ValueError):
        return False
