"""Contact sheets of a run: every moment stands beside the frames it was made of."""

from __future__ import annotations

import cv2
import numpy as np

from training.sheet import HEADER, Sheet
from training.synthesis.sample import Sample


def samples(side: int) -> list[Sample]:
    return [Sample(np.full((side, side, 3), 9, np.uint8), np.zeros((side, side), bool)) for _ in range(2)]


def shown(folder, side: int, *, step: int, level: int) -> list[int]:
    """The level of every column of the sheet after a moment at which everything was made of ``level``."""
    Sheet(folder / "shown", samples(side)).add(step, [np.full((side, side, 3), level, np.uint8)] * 2)
    sheet = cv2.imread(str(folder / "shown.png"))
    assert sheet.shape[0] == HEADER + 2 * side
    return [int(sheet[-1, column, 0]) for column in range(0, sheet.shape[1], side)]


def test_a_stage_of_another_size_has_other_samples_and_shows_no_moment_of_the_one_before(tmp_path):
    assert shown(tmp_path, 16, step=1, level=50) == [9, 0, 50]
    assert shown(tmp_path, 16, step=2, level=60) == [9, 0, 50, 60]
    assert shown(tmp_path, 32, step=3, level=70) == [9, 0, 70]
    assert shown(tmp_path, 32, step=4, level=80) == [9, 0, 70, 80]
    assert shown(tmp_path, 16, step=5, level=90) == [9, 0, 50, 60, 90]
    assert len(list((tmp_path / "shown").iterdir())) == 5
