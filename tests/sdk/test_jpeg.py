"""JPEGs that mark their end too early are found, sound ones are not accused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sdk.decoding import Decoder
from sdk.errors import DecodeFailed
from sdk.jpeg import is_cut_off
from tests.sdk.files import saved

END = b"\xff\xd9"


def judged(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return is_cut_off(io.BytesIO(data), image)


@pytest.fixture(params=[{"subsampling": 0}, {"subsampling": 2}, {"subsampling": 2, "restart_marker_rows": 1}], ids=str)
def data(request, rng):
    return saved(rng.integers(0, 256, (90, 120, 3), np.uint8), "JPEG", quality=80, **request.param)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_an_end_marker_too_early_is_found(data, share):
    cut = data[: int(len(data) * share)].rstrip(b"\xff") + END
    assert not judged(data)
    assert judged(cut)
    with pytest.raises(DecodeFailed, match="ends before its last block, although its end is marked"):
        Decoder(mode="inline").decode(cut)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_that_is_flat_at_its_end_is_sound(mode, level, rng):
    picture = Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).convert(mode)
    flat = Image.new(mode, (72, 72), (level,) * len(picture.getbands()) if mode != "L" else level)
    flat.paste(picture)
    for settings in ({}, {"progressive": True}, {"restart_marker_blocks": 2}, {"optimize": True}):
        assert not judged(saved(flat, "JPEG", **settings))


@pytest.mark.parametrize("tail", [b"\xff" * 3 + END, END + b"appended", END + END])
def test_fill_before_and_bytes_after_the_end_are_sound(tail):
    flat = saved(Image.new("RGB", (64, 64), "navy"), "JPEG")
    assert not judged(flat.removesuffix(END) + tail)
