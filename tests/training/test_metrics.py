"""Metrics against brute force over every threshold, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics import auc, average_precision, best_f1, eer, f1, image_table, pixel_table, tpr_at_fpr

few = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30).filter(
    lambda pairs: 0 < sum(label for _, label in pairs) < len(pairs)
)


def arrays(pairs):
    return np.array([score / 6 for score, _ in pairs]), np.array([label for _, label in pairs])


@given(few)
def test_auc_is_the_share_of_pairs_in_order(pairs):
    scores, labels = arrays(pairs)
    gaps = scores[labels][:, None] - scores[~labels][None]
    assert auc(scores, labels) == pytest.approx(((gaps > 0) + 0.5 * (gaps == 0)).mean())


@given(few)
def test_best_f1_is_the_best_of_all_thresholds(pairs):
    scores, labels = arrays(pairs)
    value, threshold = best_f1(scores, labels)
    assert value == pytest.approx(max(f1(scores, labels, threshold=t) for t in scores))
    assert f1(scores, labels, threshold=threshold) == pytest.approx(value)


@given(few)
def test_average_precision_sums_precision_over_steps_of_recall(pairs):
    scores, labels = arrays(pairs)
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        found = scores >= threshold
        hits = (found & labels).sum()
        total += (hits / labels.sum() - recall) * hits / found.sum()
        recall = hits / labels.sum()
    assert average_precision(scores, labels) == pytest.approx(total)


@given(few, st.sampled_from([0.0, 0.05, 0.3, 1.0]))
def test_tpr_at_fpr_is_the_best_threshold_that_is_allowed(pairs, fpr):
    scores, labels = arrays(pairs)
    rate, threshold = tpr_at_fpr(scores, labels, fpr=fpr)
    allowed = [t for t in [*scores, np.inf] if (scores[~labels] >= t).mean() <= fpr]
    assert rate == pytest.approx(max((scores[labels] >= t).mean() for t in allowed))
    assert (scores[~labels] >= threshold).mean() <= fpr


@given(few)
def test_eer_lies_between_the_two_sides_of_the_crossing(pairs):
    scores, labels = arrays(pairs)
    thresholds = [np.inf, *sorted(set(scores), reverse=True)]
    curve = [((scores[~labels] >= t).mean(), (scores[labels] < t).mean()) for t in thresholds]
    after = next(i for i, (false, miss) in enumerate(curve) if false >= miss)
    (false0, miss0), (false1, miss1) = curve[max(after - 1, 0)], curve[after]
    rate, _ = eer(scores, labels)
    assert max(false0, miss1) - 1e-9 <= rate <= min(false1, miss0) + 1e-9


def test_eer_by_hand():
    assert eer([0.9, 0.8, 0.2, 0.1], [True, True, False, False])[0] == 0
    assert eer([0.9, 0.6, 0.7, 0.1], [True, True, False, False])[0] == pytest.approx(0.5)


def test_f1_by_hand():
    assert f1([0.9, 0.6, 0.4, 0.1], [True, False, True, False]) == pytest.approx(0.5)
    assert f1([0.1, 0.2], [True, False]) == 0
    assert math.isnan(f1([0.1, 0.2], [False, False]))


def test_one_class_has_no_curve():
    for value in (auc([0.1, 0.2], [True, True]), eer([0.1], [False])[0], tpr_at_fpr([0.1], [True], fpr=0.1)[0]):
        assert math.isnan(value)


def test_pixel_metrics_leave_authentic_images_out():
    mask = np.zeros((4, 4), np.bool_)
    mask[:2] = True
    heatmap = mask.astype(np.float32)
    table = pixel_table([heatmap, 1 - heatmap], [mask, np.zeros_like(mask)])
    assert table == dict.fromkeys(table, 1.0)
    assert pixel_table([heatmap], [np.zeros_like(mask)]) == {}


def test_image_table_of_a_perfect_detector():
    table = image_table([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert table.pop("image_eer") == 0
    assert table == dict.fromkeys(table, 1.0)


def test_scores_and_labels_must_match():
    with pytest.raises(ValueError, match="3 scores for 2 labels"):
        auc([0.1, 0.2, 0.3], [True, False])
