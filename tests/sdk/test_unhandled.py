"""A file that is whole and of a kind that is not handled is not called damaged, and a damaged one is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sdk.errors import DecodeFailed, UnsupportedImage
from tests.sdk.files import saved

COMPRESSION = b"\x03\x01\x03\x00\x01\x00\x00\x00"
"""TIFF's tag, its type and count, little-endian; the value follows."""


def tiff(dtype, samples: int) -> bytes:
    return cv2.imencode(".tiff", np.zeros((6, 5, samples), dtype))[1].tobytes()


def changed(data: bytes, after: bytes, value: int) -> bytes:
    """``data`` with the byte that follows ``after`` set to ``value``."""
    at = data.index(after) + len(after)
    return data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("data", "held"),
    [
        (tiff(np.float32, 3), "3 samples a pixel, floating-point numbers of 32 bits"),
        (tiff(np.float64, 1), "1 sample a pixel, floating-point numbers of 64 bits"),
        (tiff(np.int32, 4), "4 samples a pixel, signed integers of 32 bits"),
        (tiff(np.uint32, 3), "3 samples a pixel, unsigned integers of 32 bits"),
        (changed(saved(np.zeros((9, 9), np.uint8), "TIFF"), COMPRESSION, 99), "a TIFF with compression 99"),
        (changed(saved(np.zeros((9, 9), np.uint8), "JPEG"), b"\xff\xc0\x00\x0b", 12), "a JPEG, .* 12-bit layers"),
    ],
    ids=["float32", "float64", "int32", "uint32", "compression", "jpeg"],
)
def test_what_is_not_handled_is_named_with_a_remedy(decoder, data, held):
    with pytest.raises(UnsupportedImage, match=rf"of a kind that is not handled: .*{held}\n  -> save the picture as"):
        decoder.decode(data)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int16])
def test_grey_of_no_stated_range_is_refused(decoder, dtype):
    with pytest.raises(
        UnsupportedImage, match=r"samples have no stated range\n  -> save the picture with 8 or 16 bits"
    ):
        decoder.decode(tiff(dtype, 1))


@pytest.mark.parametrize(
    "data", [tiff(np.float32, 3)[:60], b"II*\0\x08\0\0\0", b"II+\0\x08\0\0\0", b"\xff\xd8\xff\xc0"]
)
def test_a_header_that_breaks_off_is_damage(worker, data):
    with pytest.raises(DecodeFailed, match="the file is damaged or incomplete"):
        worker.decode(data)
