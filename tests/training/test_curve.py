"""The curve of a run is drawn from its log."""

from __future__ import annotations

import json

import cv2
import numpy as np

from training.curve import plot

REPORTS = [
    {"minutes": 1.0, "rate": 0.1, "a_loss": 0.7, "another": 0.6},
    {"minutes": 2.0, "pixel_auc": 0.55, "image_auc": 0.5},
    {"minutes": 2.5, "rate": 0.1, "a_loss": 0.6, "another": 0.5},
]


def drawn(folder, reports):
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(report) + "\n" for report in reports))
    return cv2.imread(str(plot(folder)))


def test_losses_and_metrics_are_drawn(tmp_path) -> None:
    whole, losses = drawn(tmp_path / "whole", REPORTS), drawn(tmp_path / "losses", REPORTS[::2])
    assert whole.shape == losses.shape == (720, 960, 3)
    upper, lower = np.s_[:320], np.s_[380:]
    assert (whole[upper] != 255).sum() > 1000
    assert (whole[lower] != losses[lower]).sum() > 1000
