"""Contact sheets of a run: every moment stands beside the frames it was made of."""

from __future__ import annotations

import cv2
import numpy as np

from training.sheet import HEADER, Sheet
from training.synthesis.sample import Sample


def samples(side: int) -> list[Sample]:
    return [Sample(np.full((side, side, 3), 9, np.uint8), np.zeros((side, side), bool)) for _ in range(2)]


def test_a_later_stage_may_show_larger_samples(tmp_path):
    Sheet(tmp_path / "shown", samples(16)).add(1, [np.full((16, 16, 3), 50, np.uint8)] * 2)
    Sheet(tmp_path / "shown", samples(32)).add(2, [np.full((32, 32, 3), 90, np.uint8)] * 2)
    sheet = cv2.imread(str(tmp_path / "shown.png"))
    assert sheet.shape == (HEADER + 2 * 32, 4 * 32, 3)
    assert [int(sheet[-1, 32 * column, 0]) for column in range(4)] == [9, 0, 50, 90]
