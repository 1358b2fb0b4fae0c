"""A camera of this machine by its number, through OpenCV, which turns its pictures into BGR."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, cast

import numpy as np

from sdk.errors import DecodeFailed, DeviceUnavailable
from sdk.inputs import Input
from sdk.source import Captured

if TYPE_CHECKING:
    from sdk.source import Settings

RANK = 10
MOST = 2**31 - 1
"""Largest number that OpenCV takes; no camera has it."""


def claims(source: object) -> bool:
    """Whether ``source`` is a number, or one in words as the command line has it."""
    return (type(source) is int and source >= 0) or (isinstance(source, str) and source.isdecimal())


def read(source: object, settings: Settings) -> Generator[Captured]:
    """Frames as they come, with the time since the first. A camera is trusted: this process talks to its driver."""
    import cv2

    number = int(cast("int | str", source))
    camera = cv2.VideoCapture(min(number, MOST))
    try:
        if not camera.isOpened():
            raise DeviceUnavailable(
                f"camera {number} cannot be opened", remedy="see /dev/video*, and who else is using it"
            )
        decoder = f"OpenCV {cv2.__version__} ({camera.getBackendName()}), colours as the driver has them"
        zero = None
        while True:
            start = time.perf_counter()
            found, bgr = camera.read()
            now = time.perf_counter()
            if not found:
                raise DecodeFailed(f"camera {number} gives no more frames", remedy="see whether it is still connected")
            zero = now if zero is None else zero
            frame = np.ascontiguousarray(bgr[:, :, ::-1])
            item = Input(frame, 1, decoder, (), 1e3 * (now - start), is_video=True)
            yield Captured(item, time_s=now - zero, live=True)
    finally:
        camera.release()
