"""Figures of sets: by hand, against brute force, and intervals against what theory says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training import metrics
from training.evaluation import figures, tally
from training.evaluation.items import Item
from training.evaluation.predictors import Answer
from training.evaluation.protocols import IMDL, PROTOCOLS


def made(predictor, heatmaps, masks, scores, rules=IMDL):
    return [
        tally.recorded(Item(str(n), lambda: None), Answer(h, s), m, protocol=rules, predictor=predictor)
        for n, (h, m, s) in enumerate(zip(heatmaps, masks, scores, strict=True))
    ]


@pytest.fixture
def images(rng):
    """Twelve noisy maps of right thirds, and eight authentic images."""
    masks = [np.zeros((16, 18), np.bool_) for _ in range(20)]
    for mask in masks[:12]:
        mask[:, 12:] = True
    heatmaps = [np.clip(0.3 * m + rng.random(m.shape), 0, 1).astype(np.float32) for m in masks]
    scores = rng.normal([m.any() for m in masks], 1.0)
    return heatmaps, masks, 1 / (1 + np.exp(-scores))


def test_values_are_means_over_forged_images_and_areas_over_all(images, oracle):
    heatmaps, masks, scores = images
    found = figures.figures(made(oracle, *images), IMDL)
    forged = list(zip(heatmaps[:12], masks[:12], strict=True))
    labels = [mask.any() for mask in masks]
    assert found["pixel_auc"].value == pytest.approx(np.mean([metrics.auc(*pair) for pair in forged]))
    assert found["pixel_f1_best_image"].value == pytest.approx(np.mean([metrics.best_f1(*pair)[0] for pair in forged]))
    pooled = metrics.auc(np.concatenate([h.ravel() for h, _ in forged]), np.concatenate([m.ravel() for _, m in forged]))
    assert found["pixel_auc_pooled"].value == pytest.approx(pooled, abs=1e-3)
    assert found["image_auc"].value == pytest.approx(metrics.auc(scores, labels))
    assert found["image_tpr_at_5"].value == pytest.approx(metrics.tpr_at_fpr(scores, labels, fpr=0.05)[0])
    assert found["image_flagged_authentic_at_5"].value == np.mean(scores[12:] >= 0.5)
    assert (found["pixel_auc"].images, found["image_auc"].images) == (12, 20)
    assert [found[f"image_flagged_{label}_at_1"].images for label in ("manipulated", "authentic")] == [12, 8]


def test_thresholds_of_a_set_are_those_of_brute_force(images, oracle):
    heatmaps, masks, _ = images
    found = figures.figures(made(oracle, *images), IMDL)
    levels = tally.LEVELS[(tally.LEVELS > 0.01) & (tally.LEVELS < 0.99)]
    means = [
        np.mean([metrics.f1(h, m, threshold=level) for h, m in zip(heatmaps[:12], masks[:12], strict=True)])
        for level in levels[::4]
    ]
    assert found["pixel_f1_best_set"].value == pytest.approx(max(means), abs=2e-3)
    assert found["pixel_f1_best_set"].value <= found["pixel_f1_best_image"].value
    every = np.concatenate([h.ravel() for h in heatmaps[:12]]), np.concatenate([m.ravel() for m in masks[:12]])
    cut = metrics.eer(*every)[1]
    at_eer = np.mean([metrics.f1(h, m, threshold=cut) for h, m in zip(heatmaps[:12], masks[:12], strict=True)])
    assert found["pixel_f1_eer_set"].value == pytest.approx(at_eer, abs=5e-3)


def test_intervals_of_a_mean_have_the_width_of_theory(rng):
    values = rng.random(60)
    resampled = figures._mean(figures.resamples(60, replace(IMDL, rounds=4000)), values)
    found = figures._figure(resampled, 60)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(60), rel=0.1)
    assert found.low < found.value < found.high


def test_a_paired_test_sees_what_intervals_hide(rng):
    """Images differ far more than predictors: each interval holds the other's value, the difference is certain."""
    hard = rng.random(40)
    weights = figures.resamples(40, IMDL)
    one, other = (figures._figure(figures._mean(weights, hard + gain), 40) for gain in (0.03, 0.0))
    assert other.low < one.value < other.high
    told = figures.better(one, other)
    assert told["difference"] == pytest.approx(0.03)
    assert told["low"] > 0
    assert told["p"] == pytest.approx(2 / 1001)
    assert figures.better(one, one)["p"] == 1
    assert figures.better(other, one)["high"] < 0


def test_a_figure_that_nothing_defines_has_no_difference():
    nothing = figures._figure(np.full(41, np.nan), 3)
    assert all(np.isnan(value) for value in figures.better(nothing, nothing).values())


def test_a_protocol_gets_what_it_asks_for_and_no_more(images, oracle):
    for rules in PROTOCOLS.values():
        found = figures.figures(made(oracle, *images, rules), rules)
        expected = {f"pixel_{name}" for name in rules.pixel} | {f"image_{name}" for name in rules.image}
        assert set(found) == expected


def test_without_authentic_images_there_are_no_image_figures(images, oracle):
    heatmaps, masks, scores = images
    found = figures.figures(made(oracle, heatmaps[:12], masks[:12], scores[:12]), IMDL)
    assert not [name for name in found if name.startswith("image")]
    assert found["pixel_auc"].to_dict()["images"] == 12
