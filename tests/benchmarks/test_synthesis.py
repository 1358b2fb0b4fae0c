"""The benchmark of synthesis says how fast, on what, and by which protocol."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from benchmarks.synthesis import main


def test_rates_shares_and_provenance_are_written(tmp_path, rng):
    album = tmp_path / "album"
    album.mkdir()
    for index in range(3):
        cv2.imwrite(str(album / f"{index}.png"), rng.integers(0, 256, (80, 90, 3), dtype=np.uint8))
    threads = cv2.getNumThreads()
    try:
        main(["--photographs", str(album), "--part", "all", "--size", "64", "--samples", "12", "--warmup", "1",
              "--results", str(tmp_path)])  # fmt: skip
    finally:
        cv2.setNumThreads(threads)
    result = json.loads((tmp_path / "synthesis-64-cpu.json").read_text())
    assert result["protocol"]["photographs"] == 3
    assert result["provenance"]["python"]
    assert [row["hardness"] for row in result["rows"]] == [0, 1]
    for row in result["rows"]:
        kinds = sum(share for name, share in row["shares"].items() if name.startswith("kind "))
        assert kinds == pytest.approx(1, abs=1e-3)
        whole = sum(row["shares"][name] * row["mean_ms"][name] for name in row["shares"] if name.startswith("kind "))
        assert row["samples_per_second"] == pytest.approx(1e3 / whole, rel=0.01)
