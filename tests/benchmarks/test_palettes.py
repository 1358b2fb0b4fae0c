"""Pictures of few colours are made and counted, and the committed counts are what the bounds rest on."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from benchmarks import palettes
from benchmarks.entry import RESULTS
from tests.sdk.files import scene
from training.data import Photographs


@pytest.fixture
def photographs(tmp_path, rng, monkeypatch):
    """One photograph, held out whatever its name."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), scene(rng, 130, 140))
    monkeypatch.setattr("training.data.held_out", lambda _: True)
    monkeypatch.setattr(palettes, "SIDES", (90, 128))
    return Photographs(folder, "validation")


def test_palettes_are_found_and_photographs_are_none(photographs, tmp_path):
    palettes.main(["--photographs", str(photographs.folder), "--results", str(tmp_path)])
    found = json.loads((tmp_path / "palettes.json").read_text(encoding="utf-8"))
    assert (found["photographs"], found["bounds"]) == (1, palettes.BOUNDS)
    assert {row["palettes"] for row in found["natural"].values()} == {0}
    whole = [row for name, row in found["reduced"].items() if name.startswith("whole") and "jpeg" not in name]
    assert [(row["pictures"], row["palettes"]) for row in whole] == [(1, 1)] * 14


def test_a_curve_and_contrast_keep_their_ends():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (palettes.curved(ramp, 3.0)[0, 0], palettes.curved(ramp, 3.0)[-1, -1]) == (0, 255)
    assert palettes.contrasted(ramp, 2).ravel()[[0, 64, 128, 191, 192, 255]].tolist() == [0, 0, 128, 254, 255, 255]


def test_no_photograph_was_taken_for_a_palette_and_most_palettes_were_found():
    found = json.loads((RESULTS / "palettes.json").read_text(encoding="utf-8"))
    assert found["bounds"] == palettes.BOUNDS
    assert found["photographs"] >= 160
    assert {row["palettes"] for row in found["natural"].values()} == {0}
    for source, least in (("whole", 0.95), ("shrunk 2 times", 0.95)):
        rows = [row for name, row in found["reduced"].items() if name.startswith(source) and "jpeg" not in name]
        assert sum(row["inconclusive"] for row in rows) >= least * sum(row["pictures"] for row in rows)
