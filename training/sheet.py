"""A contact sheet of what a network makes of the same samples as it learns: one row a sample, one column a moment.

A stage of training with samples of another side has other samples: its sheet has its own moments alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from training.synthesis.sample import Frame, Sample

COLUMNS = 8
"""Moments that are shown, evenly spread over those that there are."""
HEADER = 18
"""Height of the line above a column, px."""


class Sheet:
    """Columns in ``folder``, one PNG for every moment; in ``folder.png`` those of these samples, as many as fit."""

    def __init__(self, folder: Path, samples: Sequence[Sample]) -> None:
        self.folder, self.samples = folder, samples

    def add(self, step: int, made: Sequence[Frame]) -> None:
        """What was made of each sample at ``step``."""
        self.folder.mkdir(exist_ok=True)
        newest = self.folder / f"{step:08d}.png"
        _write(newest, np.vstack(list(made)))
        moments = [path for path in sorted(self.folder.glob("*.png")) if _size(path) == _size(newest)]
        chosen = np.unique(np.linspace(0, len(moments) - 1, COLUMNS).round().astype(int))
        masks = [np.repeat(sample.mask[..., None] * np.uint8(255), 3, axis=2) for sample in self.samples]
        columns = [_headed(np.vstack([sample.frame for sample in self.samples]), "frame")]
        columns.append(_headed(np.vstack(masks), "mask"))
        columns += [_headed(_read(moments[index]), f"step {int(moments[index].stem)}") for index in chosen]
        _write(self.folder.with_suffix(".png"), np.hstack(columns))


def _headed(column: Frame, words: str) -> Frame:
    header = np.zeros((HEADER, column.shape[1], 3), np.uint8)
    cv2.putText(header, words, (4, HEADER - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([header, column])


def _write(path: Path, frame: Frame) -> None:
    cv2.imwrite(str(path), frame[..., ::-1])


def _read(path: Path) -> Frame:
    return np.asarray(cv2.imread(str(path)), np.uint8)[..., ::-1]


def _size(path: Path) -> tuple[int, int]:
    """Width and height, px."""
    with Image.open(path) as column:
        return column.size
