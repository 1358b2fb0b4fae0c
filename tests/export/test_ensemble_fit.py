"""Weights, bands and thresholds on answers whose best combination is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import LogisticRegression

from export.ensembles import figures, fit
from export.ensembles.answers import Answers, Survey
from export.ensembles.fit import Judged
from sdk.errors import BadSetting
from sdk.members import expit
from training import measure

COSTS = np.array([10.0, 90.0])
MODELS = [
    SimpleNamespace(artifact=SimpleNamespace(contract=SimpleNamespace(name=name, mask_threshold=0.5)))
    for name in ("cheap", "dear")
]


def made(rng: np.random.Generator, index: int, *, good: tuple[float, float]) -> Answers:
    """A sample about which two models err independently, the less the larger ``good``; its mask is the left third."""
    truth = np.zeros((12, 15), np.bool_)
    truth[:, :5] = index % 4 > 1
    signs = np.where(truth, 1.0, -1.0)
    heatmaps = np.stack([expit(rng.normal(level * signs, 1.0)) for level in good]).astype(np.float32)
    label = bool(truth.any())
    scores = expit(rng.normal([level if label else -level for level in good], 1.0))
    ms = COSTS + rng.random(2)
    return Answers(f"{index}", index % 2, scores, heatmaps, truth, ms, is_manipulated=label)


def surveyed(rng: np.random.Generator, *, good: tuple[float, float], count: int = 240) -> Survey:
    samples = [made(rng, index, good=good) for index in range(count)]
    authentic = [
        Answers(f"{index}", index % 2, expit(rng.normal([-level for level in good], 1.0))) for index in range(200)
    ]
    return Survey(samples, authentic, ())


def test_weights_are_those_of_balanced_logistic_regression(rng):
    labels = np.arange(600) % 3 == 0
    log_odds = rng.normal(np.where(labels, 1.0, -1.0)[:, None] * [0.4, 1.2], 1.0)
    found = fit.logistic(log_odds, labels)
    # The same loss in scikit-learn's scale: its classes weigh count / 2 each and its ridge is 1 / C.
    expected = LogisticRegression(class_weight="balanced", C=1 / (600 * fit.RIDGE), tol=1e-8).fit(log_odds, labels)
    np.testing.assert_allclose(found.weights, expected.coef_[0], atol=2e-3)
    assert found.offset == pytest.approx(expected.intercept_[0], abs=2e-3)


def test_a_model_that_says_the_opposite_gets_no_weight(rng):
    labels = np.arange(400) % 2 == 0
    sign = np.where(labels, 1.0, -1.0)
    found = fit.logistic(np.stack([rng.normal(sign, 1.0), rng.normal(-0.3 * sign, 1.0)], axis=1), labels)
    assert found.weights[1] == 0.0
    assert found.weights[0] > 1.0


@given(
    scores=arrays(np.float64, (7, 3), elements=st.floats(0, 1)),
    low=st.floats(0, 0.5),
    high=st.floats(0.5, 1),
)
def test_a_frame_ends_at_the_first_score_outside_the_band(scores, low, high):
    for row, end in zip(scores, fit.ends(scores, (low, high)), strict=True):
        assert all(low <= score < high for score in row[:end])
        assert end == 2 or not low <= row[end] < high


def judged(rng: np.random.Generator, first: float, second: float) -> list[Judged]:
    labels = np.arange(200) % 2 == 0
    f1 = np.zeros((2, measure.LEVELS.size))
    return [
        Judged(
            bool(label),
            expit(rng.normal(np.array([first, second]) * (1 if label else -1), 1.0)),
            np.array([0.7, 0.7]) if label else np.full(2, np.nan),
            f1,
        )
        for label in labels
    ]


def test_a_cascade_stops_at_a_cheap_model_that_knows_and_goes_on_from_one_that_guesses(rng):
    knowing = judged(rng, 8.0, 8.0)
    assert fit.ends(np.array([one.scores for one in knowing]), fit.band(knowing, np.array([10.0, 100.0]))).max() == 0
    guessing = judged(rng, 0.0, 8.0)
    scores = np.array([one.scores for one in guessing])
    labels = np.array([one.is_manipulated for one in guessing])
    ended = fit.ends(scores, fit.band(guessing, np.array([10.0, 100.0])))
    reached = scores[np.arange(len(guessing)), ended]
    assert measure.metrics.auc(reached, labels) >= measure.metrics.auc(scores[:, 1], labels) - fit.LARGEST_FALL
    assert ended.mean() > 0.75


def test_two_models_that_err_independently_are_better_together_on_the_half_that_was_not_fitted(rng, monkeypatch):
    monkeypatch.setattr(figures, "PROTOCOL", replace(figures.PROTOCOL, rounds=100))
    survey = surveyed(rng, good=(0.5, 0.6), count=120)
    found = figures.held_out(survey, MODELS, survey.costs)
    for name in ("cheap", "dear"):
        assert found["paired"]["ensemble"]["pixel_auc"][name]["low"] > 0
        assert found["paired"]["ensemble"]["image_auc"][name]["difference"] > 0
    assert found["cascade"]["asked"]["cheap"] == 1.0
    assert 0 < found["cascade"]["asked"]["dear"] <= 1.0
    assert set(found["figures"]) == {"ensemble", "cascade", "cheap", "dear"}
    for rates in found["false_positives"].values():
        for rate, counted in rates.items():
            assert counted["photographs"] == 200
            assert counted["rate_low"] <= counted["flagged"] / 200 <= counted["rate_high"]
            assert counted["flagged"] / 200 <= float(rate) + 0.1


def test_a_threshold_is_reached_by_no_more_photographs_than_its_rate(rng):
    survey = surveyed(rng, good=(0.5, 0.6), count=80)
    for fitted in fit.both(survey, COSTS).values():
        scores = np.array([fitted.stage(one)[0] for one in survey.photographs])
        assert (scores >= fitted.photographs["0.05"]).mean() <= 0.05
        assert fitted.photographs["0.05"] <= fitted.photographs["0.01"]
        assert fitted.video == {}
        assert fitted.mask_threshold in measure.LEVELS


def test_models_are_put_in_another_order_with_all_that_they_said(rng):
    survey = surveyed(rng, good=(0.5, 0.6), count=4)
    turned = survey.ordered([1, 0])
    np.testing.assert_array_equal(turned.costs, survey.costs[::-1])
    np.testing.assert_array_equal(turned.samples[0].heatmaps, survey.samples[0].heatmaps[::-1])
    np.testing.assert_array_equal(turned.photographs[3].scores, survey.photographs[3].scores[::-1])


def test_samples_of_one_kind_are_refused(rng):
    survey = surveyed(rng, good=(0.5, 0.6), count=2)
    with pytest.raises(BadSetting, match="all authentic, or all manipulated"):
        fit.stages(survey.samples)
