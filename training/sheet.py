"""A contact sheet of what a network makes of the same samples as it learns: one row a sample, one column a moment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from training.synthesis.sample import Frame, Sample

COLUMNS = 8
"""Moments that are shown, evenly spread over those that there are."""
HEADER = 18
"""Height of the line above a column, px."""


class Sheet:
    """Columns in ``folder``, one PNG for every moment, and all that fit beside frame and mask in ``folder.png``."""

    def __init__(self, folder: Path, samples: Sequence[Sample]) -> None:
        self.folder, self.samples = folder, samples

    def add(self, step: int, made: Sequence[Frame]) -> None:
        """What was made of each sample at ``step``."""
        self.folder.mkdir(exist_ok=True)
        _write(self.folder / f"{step:08d}.png", np.vstack(list(made)))
        moments = sorted(self.folder.glob("*.png"))
        chosen = np.unique(np.linspace(0, len(moments) - 1, COLUMNS).round().astype(int))
        masks = [np.repeat(sample.mask[..., None] * np.uint8(255), 3, axis=2) for sample in self.samples]
        columns = [_headed(np.vstack([sample.frame for sample in self.samples]), "frame")]
        columns.append(_headed(np.vstack(masks), "mask"))
        size = columns[0].shape[1], columns[0].shape[0] - HEADER
        columns += [_headed(_read(moments[index], size), f"step {int(moments[index].stem)}") for index in chosen]
        _write(self.folder.with_suffix(".png"), np.hstack(columns))


def _headed(column: Frame, words: str) -> Frame:
    header = np.zeros((HEADER, column.shape[1], 3), np.uint8)
    cv2.putText(header, words, (4, HEADER - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([header, column])


def _write(path: Path, frame: Frame) -> None:
    cv2.imwrite(str(path), frame[..., ::-1])


def _read(path: Path, size: tuple[int, int]) -> Frame:
    """A column, brought to ``size`` (width, height): an earlier stage of training may have shown smaller samples."""
    return cv2.resize(np.asarray(cv2.imread(str(path)), np.uint8)[..., ::-1], size, interpolation=cv2.INTER_AREA)
