"""Files and workers that the tests of decoding share."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import zlib

import cv2
import numpy as np
from PIL import Image

from sdk.decoding import Decoder


def smooth(rng: np.random.Generator) -> np.ndarray:
    """A smooth random picture, [48, 64, 3]."""
    return cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)


def scene(rng: np.random.Generator, height: int, width: int, *, low: int = 0, high: int = 256) -> np.ndarray:
    """Smooth shapes under a little noise, as unlike noise as photographs are, [height, width, 3] in low..high - 1."""
    coarse = rng.integers(low, high, (height // 16 + 2, width // 16 + 2, 3), np.uint8)
    shapes = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).astype(int)
    return (shapes + rng.integers(-4, 5, shapes.shape)).clip(low, high - 1).astype(np.uint8)


def saved(image, kind, **settings) -> bytes:
    """A picture as a file of Pillow's format ``kind``."""
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **settings)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says its size and holds almost no pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def processes(decoder: Decoder) -> list[subprocess.Popen]:
    """The workers that are running."""
    places = decoder._pools[os.getpid()]._places.queue
    return [place._process for place in places if place is not None]
