"""Counts and areas against scikit-learn, brute force and cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as judge

from training import metrics
from training.evaluation.roc import Roc

few = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30).filter(
    lambda pairs: 0 < sum(label for _, label in pairs) < len(pairs)
)


def arrays(pairs):
    return np.array([score / 6 for score, _ in pairs]), np.array([label for _, label in pairs])


@given(few)
def test_areas_and_rates_are_those_of_scikit_learn(pairs):
    scores, labels = arrays(pairs)
    roc = Roc.of(scores, labels)
    assert roc.auc() == pytest.approx(judge.roc_auc_score(labels, scores))
    assert roc.average_precision() == pytest.approx(judge.average_precision_score(labels, scores))
    assert roc.eer()[0] == pytest.approx(metrics.eer(scores, labels)[0])
    for fpr in (0.01, 0.05, 0.4):
        assert roc.tpr_at(fpr) == pytest.approx(metrics.tpr_at_fpr(scores, labels, fpr=fpr)[0])


@given(few, st.floats(0, 1))
def test_values_at_a_threshold_are_those_of_scikit_learn(pairs, threshold):
    scores, labels = arrays(pairs)
    roc, found = Roc.of(scores, labels), scores >= threshold
    at = roc.index(threshold)
    assert roc.f1()[at] == pytest.approx(judge.f1_score(labels, found, zero_division=0))
    assert roc.mcc()[at] == pytest.approx(judge.matthews_corrcoef(labels, found), abs=1e-12)
    assert roc.iou()[at] == pytest.approx(judge.jaccard_score(labels, found, zero_division=0))
    both = judge.jaccard_score(labels, found, average=None, labels=[False, True], zero_division=0)
    assert roc.ciou()[at] == pytest.approx(both.mean())
    assert roc.balanced_accuracy()[at] == pytest.approx(judge.balanced_accuracy_score(labels, found))


@given(few, st.integers(0, 1000))
def test_weights_are_repetitions(pairs, seed):
    scores, labels = arrays(pairs)
    times = np.random.default_rng(seed).integers(0, 3, (4, labels.size))
    weighted = Roc.of(scores, labels, times.astype(np.float64))
    for row, counts in enumerate(times):
        repeated = Roc.of(np.repeat(scores, counts), np.repeat(labels, counts)) if counts.sum() else None
        expected = repeated.auc() if repeated is not None else np.nan
        assert weighted.auc()[row] == pytest.approx(float(expected), nan_ok=True)


@given(few)
def test_histograms_of_few_values_lose_nothing(pairs):
    scores, labels = arrays(pairs)
    levels = np.arange(7) / 6
    counts = [np.bincount(np.rint(6 * scores[kind]).astype(int), minlength=7) for kind in (labels, ~labels)]
    roc = Roc.of_histograms(*counts, levels)
    assert roc.auc() == pytest.approx(float(Roc.of(scores, labels).auc()))
    assert roc.f1().max() == pytest.approx(metrics.best_f1(scores, labels)[0])


def test_by_hand():
    """Scores .9 .8 .7 .6 with labels 1 0 1 0: from .7 on two hits and one alarm."""
    roc = Roc.of([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0])
    at = roc.index(0.7)
    assert (roc.hits[at], roc.alarms[at]) == (2, 1)
    assert roc.f1()[at] == pytest.approx(4 / 5)
    assert roc.iou()[at] == pytest.approx(2 / 3)
    assert roc.ciou()[at] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert roc.mcc()[at] == pytest.approx(2 / np.sqrt(3 * 2 * 2 * 1))
    assert roc.auc() == pytest.approx(3 / 4)
    assert roc.index(2.0) == 0


def test_one_class_has_no_curve():
    assert np.isnan(Roc.of([0.1, 0.9], [1, 1]).auc())
    assert np.isnan(Roc.of([0.1, 0.9], [0, 0]).average_precision())
    assert np.isnan(Roc.of([0.1, 0.9], [1, 1]).tpr_at(0.1))
