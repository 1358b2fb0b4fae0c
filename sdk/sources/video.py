"""A video file, its bytes, or an RTSP address, read in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from sdk.decoding import file_size, open_file
from sdk.decoding_process import anonymous_file
from sdk.errors import BadSetting
from sdk.inputs import Input
from sdk.limits import check_bytes
from sdk.pillow import readable
from sdk.signatures import HEAD, is_video
from sdk.source import Captured
from sdk.video.limits import VideoLimits
from sdk.video.process import VideoProcess
from sdk.video.reader import Reader, described

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.source import Matrix, Settings

RANK = 20
BYTES = bytes | bytearray | memoryview
Frame = tuple["NDArray[np.uint8]", dict[str, Any]]


class _Place(NamedTuple):
    """Where a video is."""

    name: str
    """For messages; it keeps a password to itself."""
    path: Path | None = None
    url: str = ""
    data: memoryview | None = None


def claims(source: object) -> bool:
    """Whether ``source`` is a path or an address, but no folder, or begins as a video does."""
    if isinstance(source, BYTES):
        return is_video(bytes(source[:HEAD]))
    return isinstance(source, str | os.PathLike) and not os.path.isdir(source)  # noqa: PTH112  as in sdk.paths


def read(source: object, settings: Settings) -> Generator[Captured]:
    """Frames with their times; what the decoder had to repair is named."""
    place, limits = _place(source), settings.limits or VideoLimits()
    if place.path:
        check_bytes(place.name, file_size(place.path, place.name), limits)
    if place.data is not None:
        check_bytes(place.name, len(place.data), limits)
    frames = (_inline if settings.decode == "inline" else _in_worker)(place, settings.matrix, limits)
    with contextlib.closing(frames):
        for pixels, said in frames:
            notes = (*said["notes"], *([f"the decoder printed: {said['damage']}"] if said["damage"] else []))
            item = Input(pixels, said["orientation"], said["decoder"], notes, said["decode_ms"], is_video=True)
            yield Captured(item, time_s=said["time_s"], damage=said["damage"], live=bool(place.url))


def without_password(text: str) -> str:
    """An address without what stands before its host; anything else as it is."""
    return re.sub(r"^(\w+://)[^/]*@", r"\1", text)


def _place(source: object) -> _Place:
    if isinstance(source, BYTES):
        given = memoryview(source)
        data = given.cast("B") if given.c_contiguous else memoryview(given.tobytes())
        return _Place(f"the video given as {len(data):,} bytes", data=data)
    text = os.fspath(source) if isinstance(source, os.PathLike) else str(source)
    scheme = re.match(r"(\w+)://", text)
    if not scheme:
        return _Place(readable(text) if text else "the empty path", Path(text).absolute())
    if scheme[1].lower() not in {"rtsp", "rtsps"}:
        raise BadSetting(f"{scheme[1]}:// is not read", remedy="fetch the file first, or give an rtsp:// address")
    return _Place(without_password(text), url=text)


def _source(place: _Place, opened: contextlib.ExitStack) -> BinaryIO | str:
    """The file, or the address; bytes become a file without a path, in memory where the system has that."""
    if place.data is not None:
        file = opened.enter_context(os.fdopen(anonymous_file("imdl-video"), "w+b"))
        file.write(place.data)
        file.seek(0)
        return file
    return opened.enter_context(open_file(place.path, place.name)) if place.path else place.url


def _in_worker(place: _Place, matrix: Matrix, limits: VideoLimits) -> Generator[Frame]:
    with contextlib.ExitStack() as opened:
        source = _source(place, opened)
        process = opened.enter_context(
            contextlib.closing(VideoProcess(place.name, source, matrix=matrix, limits=limits))
        )
        while (found := process.frame()) is not None:
            yield found


def _inline(place: _Place, matrix: Matrix, limits: VideoLimits) -> Generator[Frame]:
    """In this process: for sources that are trusted. FFmpeg's complaints are not heard here."""
    with contextlib.ExitStack() as opened:
        source = _source(place, opened)
        reader = Reader(source, name=place.name, limits=limits, matrix=matrix, live=bool(place.url))
        opened.callback(reader.close)
        while (picture := reader.read()) is not None:
            rows = np.frombuffer(picture.rows, np.uint8)[: picture.height * picture.stride]
            pixels = rows.reshape(picture.height, picture.stride)[:, : 3 * picture.width]
            frame = pixels.reshape(picture.height, picture.width, 3).copy()
            yield frame, {**described(picture)}
