"""Limits on bytes and pixels, exactly; frames are tested with the formats, seconds and memory with the worker."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ExifTags, Image

import sdk
from sdk.decoding import Decoder, Limits
from sdk.errors import BadSetting, LargePicture, LimitExceeded, UnsupportedImage
from sdk.frames import convert
from tests.sdk.files import png_header, saved
from tests.sdk.test_analyzer import OnlyDlpack
from tests.sdk.test_odd_files import Timed


@pytest.mark.parametrize("size", [(20_000, 20_000), (12_000, 12_000), (2_000_000_000, 2)])
def test_bombs_are_refused_from_the_header(size, worker):
    worker.decode(saved(np.zeros((8, 8, 3), np.uint8), "PNG"))
    with Timed() as timed, pytest.raises(LimitExceeded, match="over the limit pixels=100,000,000"):
        worker.decode(png_header(*size))
    assert timed.seconds < 1


def test_the_pixel_limit_is_exact(decoder, picture):
    data = saved(picture, "PNG")
    mode = decoder.mode
    with Decoder(Limits(pixels=64 * 48), mode=mode) as enough:
        enough.decode(data)
    with Decoder(Limits(pixels=64 * 48 - 1), mode=mode) as less, pytest.raises(LimitExceeded, match="pixels=3,071"):
        less.decode(data)


def test_a_large_picture_is_told_from_its_header_alone(decoder, picture):
    data = saved(picture, "PNG")
    assert decoder.decode(data, most_pixels=64 * 48).width == 64
    with pytest.raises(LargePicture, match=r"is 64 x 48 = 3,072 pixels, more than 3,071\n"):
        decoder.decode(data, most_pixels=64 * 48 - 1)
    with pytest.raises(LargePicture, match="10000 x 10000"):
        decoder.decode(png_header(10_000, 10_000), most_pixels=10**8 - 1)
    with pytest.raises(LimitExceeded, match="over the limit pixels=") as never:
        decoder.decode(png_header(20_000, 20_000), most_pixels=1)
    assert not isinstance(never.value, LargePicture)
    assert decoder.decode(data).width == 64


def test_a_large_picture_that_is_refused_anyway_is_not_called_large(decoder, picture):
    image = Image.fromarray(picture)
    animation = saved(image, "GIF", save_all=True, append_images=[Image.fromarray(255 - picture)])
    preview = saved(image, "TIFF", tiffinfo={ExifTags.Base.NewSubfileType: 1})
    for data, kind in ((animation, LimitExceeded), (preview, UnsupportedImage)):
        with pytest.raises(kind, match=r"has 2 frames or pages|preview of reduced size") as refused:
            decoder.decode(data, most_pixels=1)
        assert not isinstance(refused.value, LargePicture)
    with pytest.raises(LargePicture, match="3,072 pixels, more than 1\n"):
        decoder.decode(saved(image, "MPO", save_all=True, append_images=[image]), most_pixels=1)


def test_the_byte_limit_is_exact(tmp_path, picture):
    path = tmp_path / "a.png"
    path.write_bytes(saved(picture, "PNG"))
    size = path.stat().st_size
    Decoder(Limits(bytes=size), mode="inline").decode(path)
    for source in (path, path.read_bytes()):
        with pytest.raises(LimitExceeded, match=rf"has {size:,} bytes, over the limit bytes={size - 1:,}\n"):
            Decoder(Limits(bytes=size - 1), mode="inline").decode(source)


def test_the_pixel_limit_holds_for_arrays_and_images_that_are_not_loaded(picture, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(saved(picture, "PNG"))
    image = Image.open(path)
    for name, source in (("array", picture), ("array", OnlyDlpack(picture)), ("PIL image", image)):
        words = (
            rf"the {name} is 64 x 48 = 3,072 pixels, over the limit pixels=3,071\n.*limits=sdk\.Limits\(pixels=3072\)"
        )
        with pytest.raises(LimitExceeded, match=words):
            convert(source, limits=Limits(pixels=3071))
    assert image.tile  # an image that was decoded has no tiles left
    image.close()
    np.testing.assert_array_equal(convert(picture, limits=Limits(pixels=3072))[0], picture)


def test_an_analyzer_takes_its_limits_for_arrays(toy_path, picture):
    with sdk.load(toy_path, limits=Limits(pixels=3071), threads=1) as analyzer:
        with pytest.raises(LimitExceeded, match=r"the array is 64 x 48 = 3,072 pixels, over the limit pixels=3,071"):
            analyzer.analyze(picture)
        analyzer.analyze(picture[1:])


def test_limits_below_one_are_refused():
    with pytest.raises(LimitExceeded, match=r"Limits\(frames=0\) lets no file pass"):
        Limits(frames=0)


@pytest.mark.parametrize(
    "values",
    [{"pixels": "1"}, {"pixels": None}, {"pixels": 1.5}, {"pixels": True}, {"bytes": 10**30}, {"memory": 2**63},
     {"frames": float("nan")}, {"seconds": float("nan")}, {"seconds": float("inf")}, {"seconds": 1e9}],
    ids=str,
)  # fmt: skip
def test_what_is_no_limit_is_refused(values):
    with pytest.raises(
        BadSetting, match=rf"^Limits\({next(iter(values))}=.* is no limit\n  -> give a (whole )?number up to"
    ):
        Limits(**values)


def test_the_longest_patience_is_kept(picture):
    with Decoder(Limits(seconds=1_000_000)) as decoder:
        assert decoder.decode(saved(picture, "PNG")).width == 64
