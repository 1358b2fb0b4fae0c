"""Files that are almost pictures: small sound ones of every format that is read, damaged on purpose, by number.

The same number is the same file wherever the same encoders are installed.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

import sdk

PHOTOGRAPH = Path(sdk.__file__).parent / "samples" / "butterflies.jpg"
SIZE = (96, 64)
"""Width and height of every sound file, px: small, so that damage often meets a header."""
HEADER = 256
"""Bytes at the beginning that half of the damage goes to."""
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Sizes, counts and offsets at which arithmetic overflows."""
EXIF = {0x010F: "Maker", 0x0112: 6, 0x8825: {1: "N", 2: (52.0, 31.0, 12.0)}}
"""Tags of a file that has some: a maker, a quarter turn and a place."""
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("RGB", {"format": "JPEG"}),
    "jpeg-progressive": ("RGB", {"format": "JPEG", "progressive": True, "exif": True}),
    "jpeg-cmyk": ("CMYK", {"format": "JPEG"}),
    "mpo": ("RGB", {"format": "MPO", "save_all": True, "frames": 2}),
    "png": ("RGB", {"format": "PNG", "exif": True}),
    "png-alpha": ("RGBA", {"format": "PNG"}),
    "png-palette": ("P", {"format": "PNG", "transparency": 3}),
    "png-16": ("I;16", {"format": "PNG"}),
    "webp": ("RGB", {"format": "WEBP", "exif": True}),
    "webp-lossless": ("RGBA", {"format": "WEBP", "lossless": True}),
    "tiff": ("RGB", {"format": "TIFF"}),
    "tiff-lzw": ("RGB", {"format": "TIFF", "compression": "tiff_lzw"}),
    "tiff-jpeg": ("RGB", {"format": "TIFF", "compression": "jpeg"}),
    "tiff-fax": ("1", {"format": "TIFF", "compression": "group4"}),
    "gif": ("P", {"format": "GIF"}),
    "gif-animated": ("P", {"format": "GIF", "save_all": True, "frames": 3}),
    "bmp": ("RGB", {"format": "BMP"}),
    "bmp-palette": ("P", {"format": "BMP"}),
    "jpeg2000": ("RGB", {"format": "JPEG2000"}),
    "avif": ("RGB", {"format": "AVIF", "exif": True}),
    "ppm": ("RGB", {"format": "PPM"}),
    "pgm": ("L", {"format": "PPM"}),
    "heif": ("RGB", {"format": "HEIF"}),
}


def names() -> list[str]:
    """The formats that can be written here."""
    return list(_sound())


def sound(name: str) -> bytes:
    """An undamaged file."""
    return _sound()[name]


def mutated(number: int) -> tuple[str, bytes]:
    """The damaged file with this number and the name of what it was; formats take turns."""
    rng = np.random.default_rng([20, number])
    name = names()[number % len(names())]
    data = bytearray(sound(name))
    for _ in range(int(rng.integers(1, 7))):
        data = DAMAGES[int(rng.integers(len(DAMAGES)))](data, rng)
    if name.startswith("png") and rng.random() < 0.7:  # else most damage goes no further than a checksum
        data = with_checksums(data)
    return name, bytes(data)


@functools.cache
def _sound() -> dict[str, bytes]:
    with Image.open(PHOTOGRAPH) as image:
        photograph = image.convert("RGB").resize(SIZE)
    if not _has_heif():
        return {name: _written(photograph, *how) for name, how in FORMATS.items() if name != "heif"}
    return {name: _written(photograph, *how) for name, how in FORMATS.items()}


def _has_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _written(photograph: Image.Image, mode: str, settings: dict[str, Any]) -> bytes:
    image = photograph.convert("I").convert(mode) if mode == "I;16" else photograph.convert(mode)
    chosen = {key: value for key, value in settings.items() if key not in ("exif", "frames")}
    if "exif" in settings:
        chosen["exif"] = _exif().tobytes()
    if "frames" in settings:
        chosen["append_images"] = [image.rotate(90 * turn) for turn in range(1, settings["frames"])]
    buffer = io.BytesIO()
    image.save(buffer, **chosen)
    return buffer.getvalue()


def _exif() -> Image.Exif:
    exif = Image.Exif()
    for tag, value in EXIF.items():
        if isinstance(value, dict):
            exif.get_ifd(tag).update(value)
        else:
            exif[tag] = value
    return exif


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """Somewhere in ``data``, as often in its header as anywhere."""
    end = len(data) if rng.random() < 0.5 else min(len(data), HEADER)
    return int(rng.integers(max(1, end)))


def _flip(data: bytearray, rng: np.random.Generator) -> bytearray:
    if data:
        data[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return data


def _overwrite(data: bytearray, rng: np.random.Generator) -> bytearray:
    at, count = _place(data, rng), int(rng.integers(1, 17))
    data[at : at + count] = rng.bytes(count)
    return data


def _number(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A number at which arithmetic overflows, in one, two or four bytes of either order."""
    number, form = int(rng.choice(NUMBERS)), str(rng.choice(["B", "<H", ">H", "<I", ">I"]))
    size = struct.calcsize(form)
    at = _place(data, rng)
    data[at : at + size] = struct.pack(form, number & ((1 << 8 * size) - 1))
    return data


def _cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: max(1, _place(data, rng))]


def _remove(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = _place(data, rng)
    del data[at : at + int(rng.integers(1, 65))]
    return data or bytearray(1)


def _repeat(data: bytearray, rng: np.random.Generator) -> bytearray:
    at, count = _place(data, rng), int(rng.integers(1, 257))
    data[at:at] = data[at : at + count] * int(rng.integers(1, 9))
    return data


def _clear(data: bytearray, rng: np.random.Generator) -> bytearray:
    at, count = _place(data, rng), int(rng.integers(1, 257))
    data[at : at + count] = bytes([int(rng.choice([0, 255]))]) * len(data[at : at + count])
    return data


def _splice(data: bytearray, rng: np.random.Generator) -> bytearray:
    """The rest is that of another format's file."""
    other = sound(names()[int(rng.integers(len(names())))])
    at = _place(data, rng)
    return data[:at] + other[at:]


Damage = Callable[[bytearray, np.random.Generator], bytearray]
DAMAGES: tuple[Damage, ...] = (_flip, _flip, _overwrite, _number, _number, _cut, _remove, _repeat, _clear, _splice)


def with_checksums(data: bytes | bytearray) -> bytearray:
    """A PNG whose chunks have the checksums of what they hold now, as far as its lengths lead."""
    fixed, at = bytearray(data), 8
    while at + 12 <= len(fixed):
        (length,) = struct.unpack_from(">I", fixed, at)
        end = at + 8 + length
        if end + 4 > len(fixed):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return fixed


def encoders() -> dict[str, str]:
    """Versions on which the files of a number depend."""
    found = {name: features.version(name) for name in ("libjpeg_turbo", "zlib", "webp", "libtiff", "jpg_2000", "avif")}
    return {name: str(version) for name, version in found.items() if version}
