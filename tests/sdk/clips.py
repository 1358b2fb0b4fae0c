"""Sources for streams: frames that are counted, and a model to analyse them with."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np

from sdk.contract import Thresholds
from sdk.errors import DecodeFailed
from sdk.inputs import Input
from tests.sdk import toy

STILL, VIDEO = {"0.01": 0.8, "0.05": 0.6}, {"0.01": 0.3, "0.05": 0.2}


def toy_of_video(folder: Path) -> Path:
    """A toy with thresholds of its own for video."""
    return toy.build(folder / "toy", thresholds={"0": Thresholds(photographs=STILL, video=VIDEO)})


def grey(level: int) -> np.ndarray:
    """A frame whose score is about its level, with waves and grain as photographs have them."""
    rows, columns = np.mgrid[:64, :64]
    wave = 6 * np.sin(rows / 12) * np.cos(columns / 12) + (7 * rows + 11 * columns + rows * columns) % 5 - 2
    return (level + (wave - wave.mean())[..., None].repeat(3, 2)).round().astype(np.uint8)


def level(moment) -> int:
    return round(float(moment.analysis.frame.mean()))


class Clip:
    """Frames 10, 11, 12, ... whose arrays it keeps count of; ``at`` calls something before a frame."""

    def __init__(self, count: int, at: dict[int, object] | None = None) -> None:
        self.count, self.at = count, at or {}
        self.alive: set[int] = set()
        self.most, self.given, self.closed = 0, 0, False

    def __iter__(self):
        try:
            for index in range(self.count):
                if index in self.at:
                    self.at[index]()
                frame = grey(10 + index % 200)
                self.alive.add(index)
                weakref.finalize(frame, self.alive.discard, index)
                self.most = max(self.most, len(self.alive))
                self.given += 1
                yield Input(frame, 1, "none: made", (), 0.0, is_video=True)
                del frame
        finally:
            self.closed = True


def fail() -> None:
    raise DecodeFailed("the cable was pulled", remedy="put it back")


def interrupt() -> None:
    raise KeyboardInterrupt
