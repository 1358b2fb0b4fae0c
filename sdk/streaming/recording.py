"""Write what a stream found as a video: every analysed frame with its overlay, at its time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from sdk import overlay
from sdk.errors import BadSetting, RunFailed, UnsupportedImage
from sdk.video.reader import pyav

if TYPE_CHECKING:
    from types import TracebackType

    from sdk.streaming.results import Moment

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
CLOCK = 60_000
"""Ticks a second; mpeg4, for where x264 is missing, takes no more than 65,535."""
RATE = 25
"""Frames a second of sources without times."""
BT709, LIMITED = 1, 1
"""H.273's number of primaries, transfer and matrix; FFmpeg's of the range."""


class Recording:
    """A context in which moments are added; the file is there, whole, when it is left, also by an error."""

    def __init__(self, path: Path) -> None:
        above = next(folder for folder in path.absolute().parents if folder.exists())
        if path.is_dir() or not above.is_dir() or not os.access(above, os.W_OK):
            raise BadSetting(f"{path} cannot be written", remedy="name another file: --save FILE")
        kind = CONTAINERS.get(path.suffix.lower())
        if kind is None:
            raise UnsupportedImage(
                f"a video cannot be written as {path.suffix or 'a file without suffix'}",
                remedy=f"use one of: {', '.join(CONTAINERS)}",
            )
        self._av = pyav("writing a video")
        self.path, self._kind = path, kind
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._container: Any = None
        self._stream: Any = None
        self._ticks = -1

    def add(self, moment: Moment) -> None:
        """Draw and code one moment; frames of another size are brought to that of the first.

        One without an analysis has no picture and is passed over.
        """
        if moment.analysis is None:
            return
        picture = overlay.draw(moment.analysis)
        if self._container is None:
            self._open(height=picture.shape[0] // 2 * 2, width=picture.shape[1] // 2 * 2)
        height, width = self._stream.height, self._stream.width
        if picture.shape[0] // 2 * 2 != height or picture.shape[1] // 2 * 2 != width:
            picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
        coded = frame.reformat(format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED)
        time_s = moment.index / RATE if moment.time_s is None else moment.time_s
        self._ticks = max(self._ticks + 1, round(CLOCK * time_s))
        coded.pts, coded.time_base = self._ticks, Fraction(1, CLOCK)
        with self._told():
            self._container.mux(self._stream.encode(coded))

    def _open(self, *, height: int, width: int) -> None:
        codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
        with self._told():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container = self._av.open(str(self._partial), "w", format=self._kind)
        self._stream = self._container.add_stream(codec, rate=RATE)
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
        context = self._stream.codec_context
        context.time_base = Fraction(1, CLOCK)
        context.color_range = LIMITED
        context.colorspace = context.color_primaries = context.color_trc = BT709

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is None:
            return
        try:
            if isinstance(error, RunFailed):  # nothing more can be written, and nothing of it is kept
                with contextlib.suppress(OSError):
                    self._container.close()
                return
            with self._told():
                self._container.mux(self._stream.encode(None))
                self._container.close()
                self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What the system says of the disk, as an error of ours."""
        try:
            yield
        except OSError as error:
            raise RunFailed(
                f"{self.path} cannot be written: {error.strerror or error}",
                remedy="free its disk, or name another file",
            ) from error
