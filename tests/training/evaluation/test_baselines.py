"""Each classical detector finds the trace that its paper describes, planted in photographs that lack it otherwise."""

from __future__ import annotations

import re
from importlib import import_module

import cv2
import numpy as np
import pytest

from training import metrics
from training.evaluation import baselines
from training.evaluation.baselines import ghost
from training.synthesis.compression import jpeg

PHOTOGRAPHS = ("daisy", "valley", "garden")
BALLPARK = 0.9
"""Pixel AUC on its own ground; published detectors reach that and more where the trace is as strong as here."""


def photograph(repository, name):
    """Half the size: averaging four pixels leaves no trace of the file's own compression or mosaic."""
    bgr = cv2.imread(str(repository / "sdk" / "samples" / f"{name}.jpg"))
    height, width = bgr.shape[:2]
    return np.ascontiguousarray(cv2.resize(bgr, (width // 2, height // 2), interpolation=cv2.INTER_AREA)[..., ::-1])


def middle(frame):
    mask = np.zeros(frame.shape[:2], np.bool_)
    y, x = frame.shape[0] // 2, frame.shape[1] // 2
    mask[y - 80 : y + 80, x - 80 : x + 80] = True
    return mask


def planted(inside, outside):
    mask = middle(outside)
    return np.where(mask[..., None], inside, outside), mask


def fresh_in_compressed(frame, rng):
    """ELA: a patch that was never compressed, in a frame that was at quality 70."""
    return planted(frame, jpeg(frame, 70))


def poorer_in_better(frame, rng):
    """Ghost, as in the paper: a patch compressed at 60, the whole at 90."""
    composed, mask = planted(jpeg(frame, 60), frame)
    return jpeg(composed, 90), mask


def noisier(frame, rng):
    """Noise: a camera of deviation 2, a patch of deviation 6; the scene is softened so that noise is all there is."""
    soft = cv2.GaussianBlur(frame, (0, 0), 1.0).astype(np.float64)
    noise = rng.standard_normal(frame.shape)
    return planted(*(np.clip(soft + sigma * noise, 0, 255).astype(np.uint8) for sigma in (6, 2)))


def resampled_in_demosaiced(frame, rng):
    """CFA: a patch that was resized, in a frame interpolated from a Bayer mosaic."""
    mosaic = frame[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = frame[::2, ::2, 0], frame[1::2, 1::2, 2]
    height, width = mosaic.shape
    small = cv2.resize(frame, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    return planted(
        cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), cv2.cvtColor(mosaic, cv2.COLOR_BayerBG2RGB)
    )


GROUNDS = {
    "ela": fresh_in_compressed, "ghost": poorer_in_better, "noise": noisier, "cfa": resampled_in_demosaiced,
}  # fmt: skip


@pytest.mark.parametrize("photo", PHOTOGRAPHS)
@pytest.mark.parametrize("name", GROUNDS)
def test_finds_what_it_was_made_for_and_not_the_content(name, photo, repository, rng):
    frame = photograph(repository, photo)
    plant, mask = GROUNDS[name](frame, rng)
    found = metrics.auc(baselines.get(name).predict(plant).heatmap, mask)
    without = metrics.auc(baselines.get(name).predict(frame).heatmap, mask)
    assert found >= BALLPARK
    assert abs(without - 0.5) < found - 0.5 - 0.1


def test_every_classical_detector_has_its_ground_and_its_citation():
    assert set(GROUNDS) == set(baselines.names()) - {"centre", "random"}
    for name in GROUNDS:
        assert re.search(r"(19|20)\d\d", import_module(f"training.evaluation.baselines.{name}").__doc__)


@pytest.mark.parametrize("name", baselines.names())
@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (65, 40)], ids=str)
def test_heatmaps_are_maps_of_any_frame(name, shape, rng):
    frame = rng.integers(0, 256, (*shape, 3), np.uint8)
    for pixels in (frame, np.zeros_like(frame)):
        heatmap = baselines.get(name).predict(pixels).heatmap
        assert heatmap.shape == shape
        assert heatmap.dtype == np.float32
        assert ((heatmap >= 0) & (heatmap <= 1)).all()


def test_the_centre_is_the_centre_and_chance_is_chance(rng):
    frame = rng.integers(0, 256, (200, 300, 3), np.uint8)
    assert metrics.auc(baselines.get("centre").predict(frame).heatmap, middle(frame)) > BALLPARK
    chance = baselines.get("random").predict(frame).heatmap
    assert metrics.auc(chance, middle(frame)) == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(chance, baselines.get("random").predict(frame.copy()).heatmap)


def test_an_unknown_baseline_is_refused():
    with pytest.raises(ValueError, match="no baseline named 'gost'\n  -> did you mean 'ghost'"):
        baselines.get("gost")


def test_the_best_cut_lies_between_two_groups(rng):
    values = np.concatenate([rng.normal(0, 0.05, 900), rng.normal(1, 0.05, 100)]).astype(np.float32)
    assert (values > ghost.best_cut(values)[1]).sum() == 100
