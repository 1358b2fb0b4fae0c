"""Thresholds, calibration and intervals against cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
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


def test_calibration_weighs_both_classes_the_same_and_keeps_the_order(rng: np.random.Generator) -> None:
    labels = np.arange(400) % 4 > 0
    margins = rng.normal(np.where(labels, 1.0, -1.0), 1.0)
    slope, offset = measure.calibrate(margins, labels)
    assert slope == pytest.approx(2.0, abs=0.5)
    assert offset == pytest.approx(0.0, abs=0.4)
    assert measure.calibrate(-margins, labels)[0] == 1.0


def test_bootstrap_interval_holds_the_mean(rng: np.random.Generator) -> None:
    values = rng.random(50)
    low, high = measure.bootstrap(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(3.92 * values.std() / np.sqrt(50), rel=0.15)


def test_one_frame_per_photograph(photographs) -> None:
    held_out = measure.Photographs(photographs, "validation")
    sources = {row.source_path for row in held_out.rows}
    assert len(list(measure.authentic(held_out))) == len(sources)


def test_card_of_a_small_model(photographs, tmp_path) -> None:
    plan = measure.Plan(photographs=photographs, samples=32, size=64, working_sizes=(48, 0))
    detector = models.create("psccnet-lite", grid=32)
    card = measure.card(detector, plan, licence="Apache-2.0")
    assert card.working_sizes == (48, 0)
    assert card.working_size in card.working_sizes
    assert card.score_thresholds["0.01"] >= card.score_thresholds["0.05"]
    assert set(card.figures["synthetic"]["by_working_size"]) == {"48", "0"}
    card.write(tmp_path / "card.json")
    assert Card.read(tmp_path / "card.json").score_thresholds == card.score_thresholds
    assert "Apache-2.0" in card.to_markdown("small", ["f32"])


def test_a_card_with_an_unknown_field_is_refused(tmp_path) -> None:
    (tmp_path / "card.json").write_text('{"licens": "MIT"}')
    with pytest.raises(
        ValueError, match=r"has fields that no card has: \['licens'\]\n  -> measure the checkpoint again"
    ):
        Card.read(tmp_path / "card.json")
