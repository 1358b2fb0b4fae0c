"""Pictures of results: small, without metadata, and read back as they were made."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from sdk.errors import RunFailed
from sdk.evidence import pictures
from tests.sdk.files import scene


def test_a_frame_is_shown_small_and_without_metadata(rng):
    frame = scene(rng, 1500, 2000)
    image = Image.open(io.BytesIO(pictures.frame_jpeg(frame)))
    assert (image.size, dict(image.getexif()), "exif" in image.info) == ((1024, 768), {}, False)
    small = cv2.resize(frame, (1024, 768), interpolation=cv2.INTER_AREA)
    assert np.abs(pictures.frame_of(pictures.frame_jpeg(frame)).astype(int) - small).mean() < 4


def test_a_heatmap_is_read_back_to_a_level(rng):
    heatmap = rng.random((40, 60), np.float32)
    read = pictures.heatmap_of(pictures.heatmap_png(heatmap), height=40, width=60)
    assert np.abs(read - heatmap).max() <= 0.5 / 255 + 1e-6
    larger = pictures.heatmap_of(pictures.heatmap_png(np.full((700, 900), 0.25, np.float32)), height=700, width=900)
    assert larger.shape == (700, 900)
    assert np.abs(larger - 0.25).max() <= 0.5 / 255 + 1e-6


def test_colours_are_as_opaque_as_they_are_sure():
    heatmap = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(4, axis=0)
    image = np.asarray(Image.open(io.BytesIO(pictures.colour_png(heatmap))))
    assert (image[0, :, 3] == np.arange(256)).all()
    assert (np.diff(image[0, :, :3].astype(int).sum(axis=1)) >= -2).all()  # lighter, too


def test_the_same_pixels_are_the_same_bytes(rng):
    frame, heatmap = scene(rng, 90, 120), rng.random((90, 120), np.float32)
    assert pictures.frame_jpeg(frame) == pictures.frame_jpeg(frame.copy())
    assert pictures.colour_png(heatmap) == pictures.colour_png(heatmap.copy())


def test_what_is_no_picture_is_told():
    with pytest.raises(RunFailed, match="a stored picture cannot be read"):
        pictures.frame_of(b"no picture")
