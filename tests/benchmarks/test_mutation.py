"""Damaged files are the same for the same number, of every format, and end in a frame or a typed error."""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image

from benchmarks import mutation
from sdk import pillow
from sdk.decoding import Decoder, Limits
from sdk.errors import SdkError


def test_every_format_that_is_read_is_damaged():
    with Decoder(Limits(frames=9), mode="inline") as decoder:
        read = {decoder.decode(mutation.sound(name)).format for name in mutation.names()}
    assert read >= set(pillow.PLUGINS) | {"MPO"}


def test_a_number_is_a_file():
    first = [mutation.mutated(number) for number in range(60)]
    mutation._sound.cache_clear()
    assert [mutation.mutated(number) for number in range(60)] == first
    assert len({data for _, data in first}) == 60
    assert {name for name, _ in first} == set(mutation.names())
    assert all(data and data != mutation.sound(name) for name, data in first)


def test_a_file_with_exif_holds_a_place():
    exif = Image.open(io.BytesIO(mutation.sound("jpeg-progressive"))).getexif()
    assert (exif[0x0112], exif.get_ifd(0x8825)[1]) == (6, "N")


def test_checksums_are_mended_as_far_as_lengths_lead():
    data = bytearray(mutation.sound("png"))
    at = data.index(b"IDAT") + 40
    data[at] ^= 1
    mended = mutation.with_checksums(data)
    assert mended != data
    assert mutation.with_checksums(mended) == mended
    assert mutation.with_checksums(mutation.sound("png")) == mutation.sound("png")
    head = mended[12:29]
    assert int.from_bytes(mended[29:33]) == zlib.crc32(head)
    assert len(mutation.with_checksums(b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDAT" + bytes(9))) == 25


def test_damaged_files_end_in_a_frame_or_a_typed_error():
    frames, errors = 0, set()
    with Decoder(workers=1) as decoder:
        for number in range(120):
            try:
                decoded = decoder.decode(mutation.mutated(number)[1])
            except SdkError as error:
                errors.add(type(error).__name__)
            else:
                frames += 1
                assert decoded.frame.dtype == np.uint8
    assert frames >= 12
    assert "DecodeFailed" in errors
