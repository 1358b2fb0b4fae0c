"""Dilating and dropping small components, at every cut at once."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.evaluation.cleaning import LEVELS, cleaned

maps = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 3, 90, 255]))


def of_a_cut(mask: np.ndarray, *, dilation: int, smallest: float) -> np.ndarray:
    """The same of one mask, component by component."""
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((dilation, dilation), np.uint8))
    count, labels = cv2.connectedComponents(grown, connectivity=8)
    kept = [label for label in range(1, count) if (labels == label).sum() >= smallest * mask.size]
    return np.isin(labels, kept)


@given(levels=maps, dilation=st.sampled_from([1, 3]), smallest=st.sampled_from([0.0, 0.1, 0.4]))
def test_any_cut_of_it_is_the_cleaned_cut(levels: np.ndarray, dilation: int, smallest: float) -> None:
    heatmap = levels.astype(np.float32) / LEVELS
    result = cleaned(heatmap, dilation=dilation, smallest=smallest)
    for cut in (0.01, 0.3, 0.9):
        expected = of_a_cut(heatmap >= cut, dilation=dilation, smallest=smallest)
        np.testing.assert_array_equal(result >= cut, expected)


def test_a_particle_goes_and_a_region_grows() -> None:
    heatmap = np.zeros((20, 20), np.float32)
    heatmap[2, 2], heatmap[8:14, 8:14] = 1, 0.6
    result = cleaned(heatmap, dilation=3, smallest=0.05)
    assert result[2, 2] == 0
    assert (result > 0.5).sum() == 64
    assert result.max() == pytest.approx(0.6)
