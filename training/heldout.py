"""Authentic photographs that training did not see: one frame of each, as it is, or as a frame of a clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data import Photographs
from training.synthesis.video import h264

CLIP_PIXELS = 1920 * 1080
"""Pixels of a clip's frame at most; a larger photograph is shrunk to them before it is coded."""
RATES = (18, 36)
"""Constant rate factors that are drawn from, first and last: from a camera's own file to what a messenger sends."""
PAN = 6
"""Largest movement between two frames, px in each direction."""

Frame = NDArray[np.uint8]
T = TypeVar("T")


class Authentic(Sequence[Frame]):
    """One frame per photograph; where only crops of it were delivered, the first of them."""

    def __init__(self, photographs: Photographs) -> None:
        self.photographs = photographs
        first: dict[str, int] = {}
        for index, row in enumerate(photographs.rows):
            first.setdefault(row.source_path, index)
        self.indices = list(first.values())

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Frame:
        """The pixels, RGB [H, W, 3]."""
        return self.photographs.pixels(self.indices[index])[0]


def as_video(frame: Frame, *, seed: int, index: int) -> Frame:
    """``frame`` after H.264 at a rate, a range and a movement drawn by ``seed`` and ``index``; one in four a key frame.

    Raises:
        CodecMissing: PyAV is not installed.
    """
    rng = np.random.default_rng((seed, index))
    scale = min(1.0, (CLIP_PIXELS / (frame.shape[0] * frame.shape[1])) ** 0.5)
    if scale < 1:
        frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    down, across = (int(px) for px in rng.integers(-PAN, PAN + 1, 2))
    return h264(
        frame,
        crf=int(rng.integers(RATES[0], RATES[1] + 1)),
        full_range=bool(rng.random() < 0.2),
        pan=(down, across),
        intra=bool(rng.random() < 0.25),
    )


def at_each(frame: Frame, working_sizes: Sequence[int], make: Callable[[int], T]) -> dict[int, T]:
    """``make(working size)`` by working size, made once where sizes come to the same.

    From the frame's long side on, every working size leaves it as it is, as 0 does.
    """
    long_side = max(frame.shape[:2])
    effective = {size: size if 0 < size < long_side else 0 for size in working_sizes}
    made = {size: make(size) for size in dict.fromkeys(effective.values())}
    return {size: made[effective[size]] for size in working_sizes}
