"""Photographs whose content is inconclusive are counted, and the committed count is what the bounds rest on."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from benchmarks import content
from benchmarks.entry import RESULTS
from training.synthesis.life import LOWEST_QUALITY


@pytest.fixture
def photographs(tmp_path, rng):
    """Two pictures that could be photographs, and noise."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name, quality in (("a", 54), ("b", 55)):
        coarse = rng.integers(0, 256, (8, 12, 3), np.uint8)
        picture = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    cv2.imwrite(str(folder / "noise.png"), rng.integers(0, 256, (120, 160, 3), np.uint8))
    return folder


def test_what_is_beyond_a_bound_is_counted(photographs, tmp_path):
    content.main(["--photographs", str(photographs), "--results", str(tmp_path)])
    found = json.loads((tmp_path / "content.json").read_text(encoding="utf-8"))
    assert (found["photographs"], found["inconclusive"], found["share"]) == (3, 1, pytest.approx(1 / 3, abs=1e-4))
    assert (found["least_quality"], found["below_least_quality"]) == (55, 1)
    assert abs(found["nearest"]["near"]["photographs"]) < 0.1  # the noise
    assert set(found["nearest"]) == set(content.BOUNDS)


def test_the_bounds_are_those_that_were_measured():
    found = json.loads((RESULTS / "content.json").read_text(encoding="utf-8"))
    assert found["photographs"] >= 1000
    assert found["share"] <= 0.005
    assert found["least_quality"] == LOWEST_QUALITY
    assert found["below_least_quality"] <= 0.005 * found["photographs"]
    for name, (bound, nearest) in content.BOUNDS.items():
        assert found["nearest"][name]["bound"] == bound
        assert nearest(bound, found["nearest"][name]["photographs"]) == bound
