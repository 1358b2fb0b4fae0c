"""A JPEG's quality is read from its steps of quantisation; on libjpeg's scale exactly."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdk.jpeg_quality import BRIGHTNESS, quality, quality_of
from tests.sdk.files import saved, smooth


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_quality_is_that_a_file_was_saved_at(rng, mode):
    picture = Image.fromarray(smooth(rng)).convert(mode)
    assert [quality_of(opened(saved(picture, "JPEG", quality=q))) for q in range(1, 101)] == list(range(1, 101))


def test_opencv_saves_on_the_same_scale(rng):
    for wanted in (1, 30, 54, 55, 90, 100):
        data = cv2.imencode(".jpg", smooth(rng), [cv2.IMWRITE_JPEG_QUALITY, wanted])[1]
        assert quality_of(opened(data.tobytes())) == wanted


@given(steps=st.lists(st.integers(1, 255), min_size=64, max_size=64), factor=st.integers(1, 20))
def test_coarser_steps_are_never_a_higher_quality(steps, factor):
    assert 1 <= quality(step * factor for step in steps) <= quality(steps) <= 100


def test_what_is_coarser_than_every_quality_is_the_lowest():
    assert quality([65535] * 64) == 1  # steps of 16 bits
    assert quality(BRIGHTNESS) == 50
    assert quality([1] * 64) == 100
    assert quality([0] * 64) == 100  # of a damaged header


def test_brightness_decides_not_colour(rng):
    tables = [[10] * 64, [200] * 64]
    assert quality_of(opened(saved(smooth(rng), "JPEG", qtables=tables))) == quality(tables[0])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_other_files_have_none(rng, kind):
    assert quality_of(opened(saved(smooth(rng), kind))) is None
    assert quality_of(Image.fromarray(np.zeros((8, 8, 3), np.uint8))) is None
