"""Files and PIL images to RGB pixels: which formats are read, and the rule for each pixel mode.

One library decodes every format, the same in training and deployment. Pixels are never resampled, rotated or colour
managed, because each of these erases or invents the traces that are looked for:

* orientation: pixels stay as stored, the EXIF tag is reported (HEIC: its decoder turns them upright, no tag is left);
* ICC profile: values stay as stored, the profile is noted;
* grey is repeated, palettes are looked up, alpha is composited on white;
* 16 bits become 8 by dropping the low byte, as libpng, OpenCV and Pillow do for 16-bit colour;
* CMYK becomes RGB by (255 - c)(255 - k) / 255, which is what viewers without a profile show;
* floating point and 32-bit integers have no stated range and are refused.

Imported by the worker process, therefore without NumPy.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError, features

from sdk.errors import DecodeFailed, LimitExceeded, MissingExtra, SdkError, UnsupportedImage
from sdk.jpeg import is_cut_off
from sdk.jpeg_quality import quality_of
from sdk.limits import Limits, check_frames, check_large, check_pixels, raising
from sdk.signatures import HEAD, explain_unread, is_heif
from sdk.unhandled import unhandled

PLUGINS = {
    "JPEG": "Jpeg",
    "PNG": "Png",
    "WEBP": "WebP",
    "TIFF": "Tiff",
    "GIF": "Gif",
    "BMP": "Bmp",
    "JPEG2000": "Jpeg2K",
    "AVIF": "Avif",
    "PPM": "Ppm",
}
"""Formats that are read, with Pillow's plugin for each; JPEG's reads MPO too. Others (EPS runs ghostscript) are never
tried."""
CODECS = {
    "JPEG": ("libjpeg_turbo", "libjpeg-turbo"),
    "MPO": ("libjpeg_turbo", "libjpeg-turbo"),
    "PNG": ("zlib", "zlib"),
    "WEBP": ("webp", "libwebp"),
    "TIFF": ("libtiff", "libtiff"),
    "JPEG2000": ("jpg_2000", "OpenJPEG"),
    "AVIF": ("avif", "libavif"),
}
"""Pillow's name of the feature and the library that does the work."""
CONTAINERS = ("MPO", "HEIF")
"""Formats in which cameras put previews, depth or gain maps beside the photograph."""
_version = functools.cache(version)
"""Of an installed package, looked up once."""
STRIP_PIXELS = 65536
"""Pixels composited or copied at a time: in cache, and a large picture is not held twice."""
UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation to the transposition that leads from display back to storage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A decoded file."""

    image: Image.Image
    """Mode RGB, as stored."""
    orientation: int
    """EXIF orientation, 1 to 8; 1 is upright."""
    format: str
    """Pillow's name of the format."""
    decoder: str
    """Libraries that decoded it, with versions."""
    notes: tuple[str, ...]
    """What was done to reach RGB and what was left aside."""
    quality: int | None
    """Of a JPEG, as :mod:`sdk.jpeg_quality` tells it."""


def read(file: BinaryIO, *, name: str, limits: Limits, most_pixels: int = sys.maxsize) -> Picture:
    """Decode ``file``; size and frame count are checked against ``limits`` before its pixels are touched.

    One that these let pass and that has over ``most_pixels`` is a :class:`LargePicture`.
    """
    try:
        return _read(file, name, limits, most_pixels)
    except MissingExtra:
        raise
    except SdkError as error:
        if error.problem.startswith(name):
            raise
        raise type(error)(f"{name}: {error.problem}", remedy=error.remedy) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        size = readable(error).partition(" exceeds")[0]
        raise LimitExceeded(
            f"{name} is over the limit pixels={limits.pixels:,}: {size}",
            remedy=raising(limits, pixels="..."),
        ) from error
    except MemoryError as error:
        raise LimitExceeded(
            f"{name} needs more memory than the limit memory={limits.memory:,} bytes",
            remedy=raising(limits, memory="..."),
        ) from error
    except Exception as error:  # codecs raise whatever they like on a broken file
        if "nsupported" in str(error):
            raise UnsupportedImage(
                f"{name} cannot be decoded: {readable(error)}",
                remedy="save the picture in a more common variant of its format",
            ) from error
        raise DecodeFailed(
            f"{name} cannot be decoded: {readable(error)}",
            remedy="the file is damaged or incomplete; fetch it again from its source",
        ) from error


def _read(file: BinaryIO, name: str, limits: Limits, most_pixels: int) -> Picture:
    with _open(file, name) as image:
        notes = _check(image, name, limits, most_pixels)
        kind = str(image.format)
        orientation = orientation_of(image)
        stored = _load(image, orientation)
        if kind in ("JPEG", "MPO") and is_cut_off(file, stored):
            raise DecodeFailed(
                f"{name} ends before its last block, although its end is marked",
                remedy="the file is damaged or incomplete; fetch it again from its source",
            )
        rgb, more = to_rgb(stored)
        return Picture(
            image=rgb,
            orientation=orientation,
            format=kind,
            decoder=_decoder(kind),
            notes=(*notes, *more),
            quality=quality_of(image),
        )


def readable(error: object, *, most: int = 200) -> str:
    """One line of at most ``most`` characters: texts of codecs can carry bytes of the file."""
    text = error if isinstance(error, str) else str(error) or type(error).__name__
    return "".join(c if c.isprintable() else " " for c in text)[:most].strip()


def prepare() -> None:
    """Import the plugins of all formats, so that Pillow does not import those that are not wanted."""
    for plugin in PLUGINS.values():
        import_module(f"PIL.{plugin}ImagePlugin")


def prepare_all() -> None:
    """Import and look up all that reading any file may need: afterwards nothing has to be opened but the file."""
    prepare()
    import_module("PIL.MpoImagePlugin")
    for kind in CODECS:
        _decoder(kind)
    with contextlib.suppress(ImportError):
        import_module("pillow_heif")
        _decoder("HEIF")


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation of ``image``, 1 to 8; 1 where the tag is missing or makes no sense."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises what it likes on a broken tag, here SyntaxError; the pixels may be sound
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def to_rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """``image`` in mode RGB at the same size, and what was done to get there; rules in the module's docstring."""
    left_aside = ["the colour profile was not applied"] if "icc_profile" in image.info else []
    rgb, notes = _converted(image)
    return rgb, [*left_aside, *notes]


def _converted(image: Image.Image) -> tuple[Image.Image, list[str]]:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image, []
    if image.mode in ("F", "I"):
        image = _narrowed(image)
    if image.mode == "La":  # premultiplied grey, which Pillow converts to nothing else
        image = image.convert("LA")
    if image.mode.startswith("I;16"):
        high = image.tobytes("raw", "I;16B")[::2]
        return Image.frombytes("L", image.size, high).convert("RGB"), ["16 bits reduced to 8 by dropping the low byte"]
    if image.has_transparency_data:
        return _on_white(image)
    if image.mode in ("1", "L", "P", "RGB", "RGBX"):
        return image.convert("RGB"), []
    return image.convert("RGB"), [f"{image.mode} converted to RGB by the plain formula, without a colour profile"]


def _open(file: BinaryIO, name: str) -> Image.Image:
    head = file.read(HEAD)
    file.seek(0)
    prepare()
    try:
        if is_heif(head):
            return _open_heif(file)
        return Image.open(file, formats=list(PLUGINS))
    except UnidentifiedImageError as error:
        raise unhandled(file, head, name) or explain_unread(head, name) from error


def _open_heif(file: BinaryIO) -> Image.Image:
    try:
        heif = import_module("pillow_heif")
    except (ImportError, OSError) as error:  # the latter where nothing can be opened any more
        raise MissingExtra("pillow-heif", extra="heif", purpose="reading HEIC") from error
    heif.options.DECODE_THREADS = 1
    heif.register_heif_opener()
    return Image.open(file, formats=["HEIF"])


def _check(image: Image.Image, name: str, limits: Limits, most_pixels: int) -> list[str]:
    check_pixels(name, image.size, limits)
    frames, container = getattr(image, "n_frames", 1), image.format in CONTAINERS
    if not container:
        check_frames(name, frames, limits)
    if image.format == "TIFF":
        _refuse_preview(image)
    check_large(name, image.size, most_pixels)  # after all that refuses it wherever it is analysed
    if frames == 1:
        return []
    if container:
        return [f"{frames - 1} pictures beside the photograph (previews, depth or gain maps) were left aside"]
    return [f"the first of {frames} frames or pages was analysed"]


def _refuse_preview(image: Image.Image) -> None:
    """Raw photographs are TIFF files that start with a small preview: analysing that would mislead."""
    tags = getattr(image, "tag_v2", {})
    reduced = tags.get(ExifTags.Base.NewSubfileType, 0)
    if ExifTags.Base.DNGVersion in tags or (isinstance(reduced, int) and reduced & 1):
        raise UnsupportedImage(
            "the file is a raw photograph or starts with a preview of reduced size",
            remedy="develop it first and analyse the developed picture",
        )


def _load(image: Image.Image, orientation: int) -> Image.Image:
    """Decode the pixels, as stored: Pillow's TIFF reader turns them upright and drops the tag, which is undone."""
    image.load()
    if image.format == "TIFF" and orientation != 1 and orientation_of(image) == 1:
        return image.transpose(UNDO[orientation])
    return image


def _narrowed(image: Image.Image) -> Image.Image:
    """32-bit samples whose range is known to be 16 bits (PPM), as such; others are refused."""
    if image.mode == "I" and image.format in ("PPM", "PNG"):
        return image.convert("I;16")
    what = "floating-point" if image.mode == "F" else "signed or 32-bit integer"
    raise UnsupportedImage(f"{what} samples have no stated range", remedy="save the picture with 8 or 16 bits a sample")


def _on_white(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Composited on white, in strips; exactly the stored colours where nothing is transparent."""
    rgb = Image.new("RGB", image.size)
    transparent = False
    for box in strips(image.size):
        strip = image.crop(box).convert("RGBA")
        if strip.getchannel("A").getextrema() != (255, 255):
            transparent = True
            strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
        rgb.paste(strip.convert("RGB"), box)
    return rgb, ["transparent pixels were composited on white"] if transparent else []


def strips(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Boxes of full width and about ``STRIP_PIXELS`` that cover ``size`` (width, height) from top to bottom."""
    width, height = size
    rows = max(1, STRIP_PIXELS // max(1, width))
    return [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]


def _decoder(kind: str) -> str:
    if kind == "HEIF":
        return f"pillow-heif {_version('pillow-heif')}"
    library = f"Pillow {_version('pillow')}"
    if kind not in CODECS:
        return library
    feature, codec = CODECS[kind]
    return f"{library}, {codec} {features.version(feature) or 'of unknown version'}"
