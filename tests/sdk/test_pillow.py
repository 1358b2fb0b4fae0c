"""The rule for every format and pixel mode."""

from __future__ import annotations

import re
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from sdk.decoding import Decoder, Limits
from sdk.errors import DecodeFailed, LimitExceeded, MissingExtra, UnsupportedImage
from tests.sdk.files import saved


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000"])
def test_lossless_formats_return_the_stored_pixels(kind, decoder, picture):
    settings = {"WEBP": {"lossless": True}, "TIFF": {"compression": "tiff_lzw"}}.get(kind, {})
    decoded = decoder.decode(saved(picture, kind, **settings))
    np.testing.assert_array_equal(decoded.frame, picture)
    assert (decoded.format, decoded.orientation, decoded.notes) == (kind, 1, ())
    assert (decoded.width, decoded.height) == (64, 48)
    assert decoded.frame.flags.c_contiguous
    assert decoded.frame.flags.writeable


@pytest.mark.parametrize(
    "settings",
    [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"subsampling": 2, "progressive": True}],
    ids=str,
)
def test_jpeg_pixels_equal_those_of_opencv(settings, decoder, picture):
    data = saved(picture[:47, :61], "JPEG", quality=85, **settings)
    decoded = decoder.decode(data)
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    np.testing.assert_array_equal(decoded.frame, bgr[:, :, ::-1])
    assert re.fullmatch(r"Pillow [\d.]+, libjpeg-turbo [\d.]+", decoded.decoder)


def tagged(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_stay_as_stored_and_the_tag_is_reported(kind, orientation, worker, picture):
    plain = worker.decode(saved(picture, kind))
    turned = worker.decode(saved(picture, kind, exif=tagged(orientation)))
    assert turned.orientation == orientation
    np.testing.assert_array_equal(turned.frame, plain.frame)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_is_no_orientation(kind, decoder, picture):
    decoded = decoder.decode(saved(picture, kind, exif=b"Exif\0\0neither II nor MM"))
    assert (decoded.orientation, decoded.frame.shape) == (1, picture.shape)


def test_sixteen_bit_grey_drops_the_low_byte(decoder, rng):
    grey = rng.integers(0, 65536, (9, 7), np.uint16)
    for kind in ("PNG", "TIFF", "PPM"):
        decoded = decoder.decode(saved(grey, kind))
        np.testing.assert_array_equal(decoded.frame, np.repeat((grey >> 8).astype(np.uint8)[:, :, None], 3, 2))
        assert "16 bits reduced to 8 by dropping the low byte" in decoded.notes


def test_sixteen_bit_colour_drops_the_low_byte(decoder, rng):
    colour = rng.integers(0, 65536, (9, 7, 3), np.uint16)
    data = cv2.imencode(".png", colour)[1].tobytes()
    np.testing.assert_array_equal(decoder.decode(data).frame, (colour >> 8).astype(np.uint8)[:, :, ::-1])


def test_cmyk_follows_the_plain_formula(decoder, rng):
    inks = rng.integers(0, 256, (9, 7, 4), np.uint8)
    decoded = decoder.decode(saved(Image.fromarray(inks, "CMYK"), "TIFF"))
    cmy, k = inks[:, :, :3].astype(float), inks[:, :, 3:].astype(float)
    assert np.abs(decoded.frame - (255 - cmy) * (255 - k) / 255).max() <= 1
    assert decoded.notes == ("CMYK converted to RGB by the plain formula, without a colour profile",)


def test_transparency_is_composited_on_white(decoder):
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 100, 0, 0, 0, 0])
    palette.putpixel((1, 0), 1)
    for data in (saved(palette, "PNG", transparency=1), saved(palette, "GIF", transparency=1)):
        decoded = decoder.decode(data)
        assert decoded.frame.tolist() == [[[200, 100, 0], [255, 255, 255]]]
        assert decoded.notes == ("transparent pixels were composited on white",)


def test_an_opaque_alpha_channel_changes_nothing(decoder, picture):
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    decoded = decoder.decode(saved(opaque, "PNG"))
    np.testing.assert_array_equal(decoded.frame, picture)
    assert decoded.notes == ()


def test_compositing_in_strips_equals_compositing_at_once(decoder, rng):
    rgba = rng.integers(0, 256, (300, 700, 4), np.uint8)
    image = Image.fromarray(rgba)
    white = Image.new("RGBA", image.size, "white")
    expected = np.array(Image.alpha_composite(white, image).convert("RGB"))
    np.testing.assert_array_equal(decoder.decode(saved(rgba, "PNG")).frame, expected)


def test_a_colour_profile_is_noted_and_not_applied(decoder, picture):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    decoded = decoder.decode(saved(picture, "PNG", icc_profile=profile))
    np.testing.assert_array_equal(decoded.frame, picture)
    assert decoded.notes == ("the colour profile was not applied",)


def test_pictures_beside_a_photograph_are_left_aside(decoder, picture):
    data = saved(picture, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    decoded = decoder.decode(data)
    assert decoded.frame.shape == picture.shape
    assert decoded.notes == ("1 pictures beside the photograph (previews, depth or gain maps) were left aside",)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_more_than_one_frame_is_refused_unless_allowed(kind, picture):
    frames = [Image.fromarray(picture), Image.fromarray(picture[::-1].copy()), Image.fromarray(255 - picture)]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
    with pytest.raises(LimitExceeded, match=r"has 3 frames or pages, over the limit frames=1\n.*Limits\(frames=3\)"):
        Decoder(mode="inline").decode(data)
    decoded = Decoder(Limits(frames=3), mode="inline").decode(data)
    assert decoded.notes == ("the first of 3 frames or pages was analysed",)
    if kind != "GIF":
        np.testing.assert_array_equal(decoded.frame, picture)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
def test_a_file_cut_off_is_an_error(kind, decoder, rng):
    data = saved(rng.integers(0, 256, (64, 64, 3), np.uint8), kind)
    with pytest.raises(DecodeFailed, match="the file is damaged or incomplete"):
        decoder.decode(data[: len(data) * 2 // 3])


def test_heic_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtra, match=r"needs the package pillow-heif.*\n  -> pip install 'imdl-sdk\[heif\]'"):
        Decoder(mode="inline").decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


def test_a_raw_photograph_is_refused(decoder, picture):
    info = {50706: b"\1\4\0\0"}
    with pytest.raises(UnsupportedImage, match="a raw photograph or starts with a preview"):
        decoder.decode(saved(picture, "TIFF", tiffinfo=info))
