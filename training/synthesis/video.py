"""A pass of a picture through H.264: what a still taken from a clip, or a clip itself, has been through.

PyAV brings the coder. A machine without it cannot make such samples and is told so; whoever means to leave them out
says so (``video=False``), and the samples' recipes then never name a video.
"""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np

from training.errors import CodecMissing
from training.synthesis.sample import Frame

FRAMES = 3
"""Pictures of the clip; the last is kept, so that it was predicted from others where it is not an intra picture."""


def h264(frame: Frame, *, crf: int, full_range: bool, pan: tuple[int, int], intra: bool = False) -> Frame:
    """Code and decode as 4:2:0 video at constant rate factor ``crf`` (0..51, higher is coarser).

    ``full_range`` stores luma in 0..255 instead of 16..235. Before the picture come others of the same scene, each
    ``pan`` (rows, columns, px) further away; with ``intra`` it comes alone, as a key picture does.
    """
    height, width = frame.shape[:2]
    even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REFLECT_101)
    clip = [_moved(even, pan, away) for away in range(0 if intra else FRAMES - 1, -1, -1)]
    return np.ascontiguousarray(_coded(clip, crf, full_range)[:height, :width])


def _moved(frame: Frame, pan: tuple[int, int], times: int) -> Frame:
    shift = np.array([[1, 0, pan[1] * times], [0, 1, pan[0] * times]], np.float64)
    size = (frame.shape[1], frame.shape[0])
    return np.asarray(cv2.warpAffine(frame, shift, size, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _coded(clip: list[Frame], crf: int, full_range: bool) -> Frame:
    try:
        import av
        from av.video.reformatter import ColorRange
    except ModuleNotFoundError as error:
        raise CodecMissing("H.264") from error
    span = ColorRange.JPEG if full_range else ColorRange.MPEG
    coder = av.CodecContext.create("libx264", "w")
    coder.height, coder.width, coder.pix_fmt, coder.framerate = *clip[0].shape[:2], "yuv420p", Fraction(25)
    coder.color_range = span
    # One thread: the same bits on every machine, and the other cores belong to other workers.
    coder.thread_count = 1
    coder.options = {"preset": "veryfast", "crf": str(crf), "tune": "zerolatency"}
    packets = []
    for picture in clip:
        raw = av.VideoFrame.from_ndarray(picture, format="rgb24")
        packets += coder.encode(raw.reformat(format="yuv420p", dst_color_range=span))
    packets += coder.encode(None)
    reader = av.CodecContext.create("h264", "r")
    reader.thread_count = 1
    pictures = [picture for packet in [*packets, None] for picture in reader.decode(packet)]
    return np.asarray(pictures[-1].reformat(format="rgb24", src_color_range=span).to_ndarray(), np.uint8)
