"""What is no picture is named."""

from __future__ import annotations

import pytest

from sdk.errors import DecodeFailed, UnsupportedImage
from sdk.signatures import is_video


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", DecodeFailed, "is empty"),
        (b"hello, world", UnsupportedImage, "of no kind that is known here\n  -> convert it to JPEG"),
        (b"%PDF-1.7", UnsupportedImage, "is a PDF document"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", UnsupportedImage, "is a video\n  -> give it to sdk.stream"),
        (b"G" + bytes(187) + b"G" + bytes(187), UnsupportedImage, "is a video"),
        (b"\x89PNGnonsense", DecodeFailed, "starts like a PNG file and has no header"),
        (b"\xff\xd8\xff\xe0", DecodeFailed, "starts like a JPEG file|cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", UnsupportedImage, "is a PostScript file"),
    ],
)
def test_what_is_no_picture_is_named(data, error, words, decoder):
    with pytest.raises(error, match=words):
        decoder.decode(data)


@pytest.mark.parametrize(
    ("head", "video"),
    [
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", True),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", False),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", False),
        (b"\0\0\0\x08wide", True),
        (b"RIFF\0\0\0\0AVI LIST", True),
        (b"RIFF\0\0\0\0WEBPVP8 ", False),
        (b"GIF89a" + bytes(182) + b"G", False),
        (b"G" + bytes(187) + b"G", True),
        (b"", False),
    ],
)
def test_a_video_is_told_from_a_picture_in_the_same_kind_of_container(head, video):
    assert is_video(head) is video
