"""Thresholds, calibration and intervals against cases computed by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training import measure, models
from training.card import Card


@given(
    scores=arrays(np.float64, st.integers(30, 300), elements=st.floats(0, 0.9375, width=32)),
    rate=st.sampled_from([0.01, 0.05]),
)
def test_a_threshold_flags_at_most_its_rate(scores: np.ndarray, rate: float) -> None:
    level, bounds = measure.threshold(scores, rate)
    assert (scores >= level).mean() <= rate
    assert bounds["rate_low"] <= bounds["flagged"] / bounds["photographs"] <= bounds["rate_high"]


def test_clopper_pearson_bounds_of_a_known_case() -> None:
    """No photograph of 100 flagged: the upper bound is 1 - 0.025 ** (1 / 100)."""
    _, bounds = measure.threshold(np.linspace(0, 0.5, 100), 0.009)
    assert bounds["flagged"] == 0
    assert bounds["rate_low"] == 0
    assert bounds["rate_high"] == pytest.approx(1 - 0.025**0.01)


def made(margin: float, *, is_manipulated: bool, f1: float = np.nan) -> measure.Found:
    levels = np.where(np.arange(measure.LEVELS.size) == 4, f1, f1 / 2)
    return measure.Found(kind="splice", is_manipulated=is_manipulated, margin=margin, pixel_auc=0.5, f1=levels)


def test_calibration_weighs_both_classes_the_same_and_keeps_the_order(rng: np.random.Generator) -> None:
    labels = np.arange(400) % 4 > 0
    margins = rng.normal(np.where(labels, 1.0, -1.0), 1.0)
    pairs = list(zip(margins.tolist(), labels.tolist(), strict=True))
    slope, offset = measure.calibrate([made(margin, is_manipulated=label) for margin, label in pairs])
    assert slope == pytest.approx(2.0, abs=0.5)
    assert offset == pytest.approx(0.0, abs=0.4)
    assert measure.calibrate([made(-margin, is_manipulated=label) for margin, label in pairs])[0] == 1.0


def test_the_mask_threshold_has_the_best_mean_f1() -> None:
    rows = [made(0, is_manipulated=True, f1=0.9), made(0, is_manipulated=True, f1=0.1)]
    assert measure.mask_threshold(rows) == pytest.approx(0.3)


def test_every_working_size_has_thresholds_of_its_own() -> None:
    by_size = {512: np.linspace(-3, 0, 100), 0: np.linspace(-3, 1, 100)}
    levels, bounds = measure.thresholds(by_size, (1.0, 0.0))
    for size, values in by_size.items():
        assert levels[size] == {
            str(rate): measure.threshold(1 / (1 + np.exp(-values)), rate)[0] for rate in measure.RATES
        }
    assert levels[512]["0.01"] < levels[0]["0.01"]
    assert set(bounds) == {"0.01 at 512", "0.05 at 512", "0.01 at native", "0.05 at native"}


def test_bootstrap_interval_holds_the_mean(rng: np.random.Generator) -> None:
    values = rng.random(50)
    low, high = measure.bootstrap(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(3.92 * values.std() / np.sqrt(50), rel=0.15)


def test_photographs_that_are_too_large_are_not_measured_at_their_own_size() -> None:
    torch.manual_seed(0)
    detector = models.create("psccnet-lite", grid=32).eval()
    frames = [np.full((side, 64, 3), 90, np.uint8) for side in (64, 96)]
    plan = measure.Plan(photographs=Path(), working_sizes=(64, 0), native_megapixels=0.005)
    table = measure.margins(detector, frames, plan)
    assert {size: len(values) for size, values in table.items()} == {64: 2, 0: 1}
    assert table[64][0] == table[0][0]
    assert table[64][0] == measure.answer(detector, frames[0], working_size=0)[1]


def test_a_size_without_photographs_is_left_out(photographs) -> None:
    detector = models.create("psccnet-lite", grid=32)
    plan = measure.Plan(photographs=photographs, samples=12, size=144, working_sizes=(48, 0), native_megapixels=0.001)
    card = measure.card(detector, replace(plan, video=False))
    assert card.working_sizes == (48,)
    assert set(card.figures["false_positives"]["photographs"]) == {"0.01 at 48", "0.05 at 48"}
    with pytest.raises(ValueError, match=r"no photograph of 0\.001 megapixels or less.*\n  -> measure another"):
        measure.card(detector, replace(plan, working_sizes=(0,)))


def test_card_of_a_small_model(photographs, tmp_path, capsys) -> None:
    plan = measure.Plan(photographs=photographs, samples=24, size=144, working_sizes=(48, 0))
    detector = models.create("psccnet-lite", grid=32)
    card = measure.card(detector, plan, licence="Apache-2.0")
    assert card.working_sizes == (48, 0)
    assert card.working_size in card.working_sizes
    for levels in (card.at(size)[kind] for size in card.working_sizes for kind in ("photographs", "video")):
        assert levels["0.01"] >= levels["0.05"]
    assert set(card.figures["synthetic"]["by_working_size"]) == {"48", "0"}
    assert card.figures["false_positives"]["native_megapixels"] == 2.1
    card.write(tmp_path / "card.json")
    assert Card.read(tmp_path / "card.json").thresholds == card.thresholds
    assert "Apache-2.0" in card.to_markdown("small", ["f32"])
    assert "of authentic video frames" in card.to_markdown("small", ["f32"])
    assert "samples 24 of 24" in capsys.readouterr().err
