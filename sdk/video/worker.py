"""The worker process for videos: opens one at the first request, and answers each with its next frame."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from sdk.decoding_worker import answer_all, refused
from sdk.errors import SdkError
from sdk.video.limits import VideoLimits
from sdk.video.reader import Picture, Reader, described


def serve(start: Mapping[str, Any]) -> None:
    """Answer requests until the parent closes its end; ``start`` has ``shared`` (descriptor) and ``limits``."""
    limits = VideoLimits(**start["limits"])
    reading = _Reading(start["shared"], start["file"], limits)
    answer_all(start, limits, _prepare, reading.answer, room=3 * limits.pixels)


def _prepare() -> None:
    """Let FFmpeg print its errors, which the parent collects. Where PyAV is missing the first request is told.

    What PyAV imports only when it meets subtitles could not be opened any more.
    """
    with contextlib.suppress(ImportError):
        import av.logging

        for late in ("codeccontext", "stream", "subtitle"):
            import_module(f"av.subtitles.{late}")

        av.logging.restore_default_callback()
        av.logging.set_libav_level(av.logging.ERROR)


ADDRESS = re.compile(" @ 0x[0-9a-f]+")
"""Part of what FFmpeg prints, and another in every process."""


PRINTED = 1 << 18
"""Bytes of what was printed that are looked at, the last ones; a header with every packet in error prints as much."""


def _heard() -> str:
    """The lines that were printed to standard error since the last time."""
    size = os.fstat(2).st_size
    if not size:
        return ""
    text = os.pread(2, PRINTED, max(0, size - PRINTED))
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)
    return ADDRESS.sub("", text.decode(errors="replace"))


class _Reading:
    """The video that is being read."""

    def __init__(self, shared: int, file: int | None, limits: VideoLimits) -> None:
        self._shared, self._file, self._limits = shared, file, limits
        self._reader: Reader | None = None

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The next frame in words; its pixels are in ``shared``."""
        try:
            self._reader = self._reader or self._opened(request)
            picture = self._reader.read()
        except SdkError as error:
            return refused(error)
        if picture is None:
            return {"end": True}
        self._share(picture)
        return {**described(picture)}

    def _opened(self, request: Mapping[str, Any]) -> Reader:
        settings: Any = {"name": request["name"], "limits": self._limits, "matrix": request["matrix"]}
        settings["heard"] = _heard
        if self._file is None:
            return Reader(request["url"], live=True, **settings)
        return Reader(open(self._file, "rb"), **settings)  # noqa: PTH123 (a descriptor; stays open)

    def _share(self, picture: Picture) -> None:
        """Write the pixels, [H, W, 3] bytes in row-major order, to the start of ``shared``."""
        width = 3 * picture.width
        os.lseek(self._shared, 0, os.SEEK_SET)
        rows = picture.rows[: picture.stride * picture.height]
        if width != picture.stride:
            starts = range(0, len(rows), picture.stride)
            rows = memoryview(b"".join(rows[start : start + width] for start in starts))
        while rows:
            rows = rows[os.write(self._shared, rows) :]
