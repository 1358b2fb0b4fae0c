"""The statistics of content are what they say, and tell photographs from what thresholds were not measured on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import sdk
from sdk.content import (
    EQUAL_SHARE,
    FAR,
    FAR_CORRELATION,
    NEAR_CORRELATION,
    PALETTE,
    PALETTE_GAP,
    PALETTE_PIXELS,
    SCALE,
    SCALE_GAP,
    Content,
    content,
)
from tests.sdk.files import scene


def grey(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels.astype(np.uint8)[:, :, None], 3, axis=2)


def plain(frame: np.ndarray) -> tuple[float, float, float]:
    """Share of equal neighbours and correlations at both distances, of every pixel in float64."""
    levels = frame.astype(np.float64).mean(axis=2)
    high = len(frame) - FAR  # what is compared with FAR rows below

    def correlation(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])

    across, down = frame[:high, 1:] == frame[:high, :-1], frame[1 : high + 1] == frame[:high]
    near = correlation(levels[:high, 1:], levels[:high, :-1]) + correlation(levels[1 : high + 1], levels[:high])
    far = correlation(levels[:high, FAR:], levels[:high, :-FAR]) + correlation(levels[FAR:], levels[:high])
    return (across.all(axis=2).mean() + down.all(axis=2).mean()) / 2, near / 2, far / 2


@given(height=st.integers(FAR + 8, 40), width=st.integers(FAR + 8, 60), seed=st.integers(0, 99))
def test_a_small_frame_is_judged_by_every_pixel(height, width, seed):
    frame = scene(np.random.default_rng(seed), height, width) // 32 * 32
    found = content(frame)
    assert (found.equal, found.near, found.far) == pytest.approx(plain(frame), abs=1e-5)


def noise(height: int = 200, width: int = 300) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def drawn() -> np.ndarray:
    frame = np.full((200, 300, 3), 255, np.uint8)
    for box, colour in (((20, 30, 180, 90), (200, 30, 30)), ((60, 50, 250, 160), (10, 60, 160))):
        cv2.rectangle(frame, box[:2], box[2:], colour, -1)
    return frame


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (noise(), "pixels 1 px apart"),
        (grey(noise()[:, :, 0]), "pixels 1 px apart"),
        (noise(20, 30).repeat(8, 0).repeat(8, 1), "pixels 8 px apart"),
        (noise(100, 150).repeat(2, 0).repeat(2, 1), "pixels 1 px apart"),
        (cv2.GaussianBlur(noise(), (0, 0), 1), "pixels 8 px apart"),
        (cv2.imdecode(cv2.imencode(".jpg", noise(), [cv2.IMWRITE_JPEG_QUALITY, 75])[1], 1), "pixels 1 px apart"),
        (grey(64 + 128 * (np.indices((200, 300)).sum(0) % 2)), "pixels 1 px apart correlate by -1.00"),
        (drawn(), "of the pixels are as their neighbours"),
    ],
    ids=["noise", "grey noise", "coarse blocks", "fine blocks", "blurred", "jpeg", "checkers", "drawn"],
)
def test_what_is_no_photograph_is_told(frame, words):
    assert words in content(frame).reason


def test_scenes_and_the_photographs_that_ship_are_content(rng):
    photographs = [
        np.asarray(Image.open(path)) for path in sorted(Path(sdk.__file__).with_name("samples").glob("*.jpg"))
    ]
    assert len(photographs) == 8
    for frame in (*photographs, scene(rng, 90, 120), scene(rng, 90, 120, low=100, high=140)):
        assert content(frame).reason == ""


def test_a_bound_is_where_it_says(rng):
    found = content(scene(rng, 90, 120))
    nearest = {"equal": EQUAL_SHARE, "near": NEAR_CORRELATION, "far": FAR_CORRELATION}
    replaced = {name: type(found)(**{**_fields(found), name: bound}) for name, bound in nearest.items()}
    assert [one.reason for one in replaced.values()] == ["", "", ""]
    for name, bound in nearest.items():
        beyond = np.nextafter(bound, 1.0 if name == "equal" else 0.0)
        assert type(found)(**{**_fields(found), name: beyond}).reason


def rgb(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"))


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    picture = Image.open(sorted(Path(sdk.__file__).with_name("samples").glob("*.jpg"))[0])
    return rgb(picture.reduce(max(picture.size) // 200))


@pytest.mark.parametrize("colours", [16, 64, 256])
@pytest.mark.parametrize("method", [Image.Quantize.MEDIANCUT, Image.Quantize.FASTOCTREE], ids=lambda one: one.name)
@pytest.mark.parametrize("dither", [Image.Dither.NONE, Image.Dither.FLOYDSTEINBERG], ids=lambda one: one.name)
def test_a_photograph_that_was_reduced_to_a_palette_is_told(photograph, colours, method, dither):
    picture = Image.fromarray(photograph)
    reduced = rgb(picture.quantize(palette=picture.quantize(colours, method=method), dither=dither))
    found = content(reduced)
    assert 1 < found.colours <= colours
    assert found.reason.startswith(f"the frame was reduced to a palette: {found.colours} colours, {found.gap:.1f} ")
    assert found.reason.endswith(
        " levels apart, were met, whose traces cover those of manipulation; judge the original"
    )


def test_photographs_of_few_colours_are_none(photograph):
    black_and_white = rgb(Image.fromarray(photograph).convert("L"))
    sepia = (black_and_white * [1.0, 0.74, 0.43]).astype(np.uint8)
    for frame in (black_and_white, sepia, np.clip(2 * black_and_white.astype(int) - 128, 0, 255).astype(np.uint8)):
        found = content(frame)
        assert (found.scale, found.colours <= PALETTE, found.reason) == (True, True, "")
    dark = photograph // 16
    assert content(dark).gap in {0.0, 1.0}  # many colours, or neighbours
    assert content(dark).reason == ""


def test_shades_that_are_few_and_far_apart_are_a_palette(photograph):
    found = content(rgb(Image.fromarray(photograph).convert("L")) // 16 * 17)
    assert (found.scale, found.colours, found.gap) == (True, 16, 17.0)
    assert "a palette: 16 colours, 17.0 levels apart" in found.reason


def test_the_gap_is_that_to_the_nearest_colour_of_every_pixel():
    colours = np.array([[10, 10, 10], [20, 10, 15], [20, 13, 15], [90, 90, 90]], np.uint8)
    frame = colours[np.repeat([0, 1, 2, 3], 25)[:, None].repeat(100, 1)]  # nearest are 10, 3, 3 and 77 levels away
    found = content(frame)
    assert (found.colours, found.gap, found.scale) == (4, (10 + 3 + 3 + 77) / 4, True)
    colours[1, 0] = 9
    assert (content(colours[np.repeat([0, 1, 2, 3], 25)[:, None].repeat(100, 1)])).scale is False


def test_small_frames_and_those_of_many_colours_have_no_gap(rng):
    few = rng.integers(0, 2, (PALETTE_PIXELS // 100, 100, 3), np.uint8) * 255
    assert (content(few).colours, content(few).gap) == (8, 255.0)
    assert (content(few[:-1]).colours, content(few[:-1]).gap) == (8, 0.0)
    many = scene(rng, 90, 120)
    assert (content(many).colours > PALETTE, content(many).gap) == (True, 0.0)


@pytest.mark.parametrize(("scale", "most", "bound"), [(False, PALETTE, PALETTE_GAP), (True, SCALE, SCALE_GAP)])
def test_the_bounds_of_palettes_are_where_they_say(rng, scale, most, bound):
    fields = {**_fields(content(scene(rng, 90, 120))), "scale": scale}
    found = [(most, bound), (most, np.nextafter(bound, 9.0)), (most + 1, 9.0)]
    told = [Content(**{**fields, "colours": colours, "gap": gap}).reason != "" for colours, gap in found]
    assert told == [False, True, False]


def _fields(found) -> dict[str, float]:
    return {name: getattr(found, name) for name in found.__slots__}
