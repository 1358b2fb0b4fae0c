"""Videos that the tests make: moving noise, coded by PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def make(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Sequence[float] | None = None,
    matrix: int = 1,
    color_range: int = 1,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    sound: str = "",
    clock: int = 1000,
) -> Path:
    """Code RGB ``frames``, 25 a second or at ``times``; ``matrix`` 2 and ``color_range`` 0 name none.

    ``sound`` is a codec, and three seconds of silence. ``clock`` is what times count, ticks a second; MPEG-2 takes 25.
    """
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=25, options={"crf": "12", **(options or {})})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pix_fmt
        context = stream.codec_context
        context.time_base, context.thread_count = Fraction(1, clock), 1
        context.colorspace, context.color_range = matrix, color_range
        heard = file.add_stream(sound, rate=44100, layout="mono") if sound else None
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            coded = picture.reformat(
                format=pix_fmt, dst_colorspace=matrix if matrix != 2 else 5, dst_color_range=color_range or 1
            )
            coded.pts = round(clock * (times[index] if times else index / 25))
            coded.time_base = Fraction(1, clock)
            file.mux(stream.encode(coded))
        file.mux(stream.encode(None))
        if heard is not None:
            _silence(file, heard)
    return path


def _silence(file: av.container.OutputContainer, stream: av.AudioStream) -> None:
    size = stream.codec_context.frame_size or 1024
    for start in range(0, 3 * 44100, size):
        frame = av.AudioFrame(format=stream.format.name, layout="mono", samples=size)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts = 44100, start
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def noise(rng: np.random.Generator, count: int, height: int = 80, width: int = 96, top: int = 256) -> list[np.ndarray]:
    """Frames that no codec makes flat: blocks of four pixels at random."""
    small = rng.integers(0, top, (count, -(-height // 4), -(-width // 4), 3), np.uint8)
    return list(small.repeat(4, 1).repeat(4, 2)[:, :height, :width])


def flat(colour: tuple[int, int, int], count: int = 1, height: int = 64, width: int = 80) -> list[np.ndarray]:
    """Frames of one colour."""
    return [np.full((height, width, 3), colour, np.uint8)] * count


def turned(path: Path, matrix: tuple[int, ...]) -> None:
    """Write a display matrix (a, b, c, d of 16.16 numbers) into the first track header of an MP4 file."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix begins 40 bytes after the version
    a, b, c, d = (value.to_bytes(4, "big", signed=True) for value in matrix)
    data[at : at + 20] = a + b + bytes(4) + c + d
    path.write_bytes(data)
