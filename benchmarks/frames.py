"""What is analysed: a photograph that ships, at any size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import sdk

SAMPLES = Path(sdk.__file__).with_name("samples")


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    """A photograph brought to a size, uint8 [height, width, 3] RGB."""
    frame = cv2.imread(str(SAMPLES / "valley.jpg"))
    return np.ascontiguousarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)[..., ::-1])


def jpeg(frame: NDArray[np.uint8]) -> bytes:
    """A frame as the bytes of a JPEG of quality 90."""
    return cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def save_jpeg(file: Path, *, height: int, width: int) -> None:
    """The photograph as a JPEG of quality 90."""
    file.write_bytes(jpeg(photograph(height, width)))
