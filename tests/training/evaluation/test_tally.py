"""The rules of a protocol, each on a case where it decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training import metrics
from training.evaluation import tally
from training.evaluation.items import Item
from training.evaluation.predictors import Answer
from training.evaluation.protocols import IMDL, PIXEL, PROTOCOLS, Protocol, protocol
from training.evaluation.roc import Roc
from training.synthesis.compression import jpeg

TRUTH = np.zeros((20, 30), np.bool_)
TRUTH[:, :12] = True


def record(predictor, heatmap, truth, rules, *, score=None):
    item = Item("made up", lambda: (np.zeros((*truth.shape, 3), np.uint8), truth), label=None)
    return tally.recorded(item, Answer(heatmap, score), truth, protocol=rules, predictor=predictor)


def test_a_perfect_map_gets_everything_and_its_inverse_nothing(oracle):
    heatmap = TRUTH.astype(np.float32)
    perfect = record(oracle, heatmap, TRUTH, IMDL).values
    assert perfect == pytest.approx(dict.fromkeys(perfect, 1.0))
    wrong = record(oracle, 1 - heatmap, TRUTH, IMDL).values
    assert (wrong["auc"], wrong["f1_fixed"], wrong["iou_fixed"]) == (0, 0, 0)
    assert wrong["mcc_fixed"] == pytest.approx(-1)
    assert wrong["p_map"] == pytest.approx(1)


def test_inversion_rules_differ_where_most_is_forged(oracle, rng):
    most = ~TRUTH
    heatmap = np.clip(TRUTH + 0.3 * rng.random(TRUTH.shape), 0, 1).astype(np.float32)  # marks the smaller region
    values = {
        rule: record(oracle, heatmap, most, replace(IMDL, inversion=rule)).values["auc"]
        for rule in ("none", "negate_mostly_forged", "smaller_region", "better_of_two")
    }
    assert values["none"] == pytest.approx(0)
    assert [values[rule] for rule in values if rule != "none"] == pytest.approx([1, 1, 1])


def test_smaller_region_and_better_of_two_differ_where_little_is_forged(oracle):
    inverse = 1 - TRUTH.astype(np.float32)
    assert record(oracle, inverse, TRUTH, replace(IMDL, inversion="smaller_region")).values["auc"] == 0
    best = record(oracle, inverse, TRUTH, replace(IMDL, inversion="better_of_two"))
    assert best.values["auc"] == best.values["f1_fixed"] == 1
    assert best.positives[-1] == TRUTH.sum()


def test_permuted_ap_follows_its_two_definitions(rng):
    heatmap, half = rng.random(600), np.arange(600) < 300
    best = max(metrics.average_precision(heatmap, half), metrics.average_precision(1 - heatmap, half))
    assert tally.permuted(heatmap, half, rule="mag") == tally.permuted(heatmap, half, rule="huh") == pytest.approx(best)
    few = np.arange(600) < 100
    worse = (~few).astype(np.float64)
    assert tally.permuted(worse, few, rule="huh") == 1
    assert tally.permuted(worse, few, rule="mag") == pytest.approx(metrics.average_precision(worse, few))
    assert tally.permuted(1 - worse, ~few, rule="mag") == 1


def test_pixels_near_the_edge_do_not_count_where_the_protocol_says_so(oracle):
    heatmap = np.zeros(TRUTH.shape, np.float32)
    heatmap[:, :14] = 1  # two columns too far
    assert record(oracle, heatmap, TRUTH, IMDL).values["f1_fixed"] < 1
    assert record(oracle, heatmap, TRUTH, replace(IMDL, boundary=2)).values["f1_fixed"] == 1


def test_particles_go_where_the_protocol_says_so(oracle):
    heatmap = TRUTH.astype(np.float32)
    heatmap[-1, -1] = 1
    assert record(oracle, heatmap, TRUTH, IMDL).values["f1_fixed"] < 1
    assert record(oracle, heatmap, TRUTH, replace(IMDL, smallest=0.05)).values["f1_fixed"] == 1


def test_authentic_images_are_left_out_or_halve_the_mean(oracle):
    empty = np.zeros_like(TRUTH)
    assert record(oracle, TRUTH.astype(np.float32), empty, IMDL).positives is None
    included = record(oracle, TRUTH.astype(np.float32), empty, replace(IMDL, authentic="included"))
    assert included.values["f1_fixed"] == 0
    assert np.isnan(included.values["auc"])


def test_images_that_enter_no_figure_are_not_analysed(oracle):
    def refuse():
        raise AssertionError("read for nothing")

    items = [Item("authentic", refuse, label=False)]
    assert tally.tally([oracle], items, PROTOCOLS["gsrnet"]) == {"oracle": []}
    with pytest.raises(AssertionError, match="read for nothing"):
        tally.tally([oracle], items, IMDL)


def test_score_is_the_head_or_the_mean(oracle):
    heatmap = TRUTH.astype(np.float32)
    head = record(oracle, heatmap, TRUTH, IMDL, score=0.7)
    mean = record(oracle, heatmap, TRUTH, replace(IMDL, score="mean"), score=0.7)
    assert (head.score, mean.score) == (0.7, pytest.approx(TRUTH.mean()))
    assert head.flags == {"1": False, "5": True}
    assert mean.flags == {}
    assert record(oracle, heatmap, TRUTH, IMDL).score == pytest.approx(TRUTH.mean())


def test_heatmaps_come_to_the_frame_or_the_truth_to_what_was_analysed():
    heatmap = TRUTH[::2, ::2].astype(np.float32)
    at_frame, truth = tally.aligned(heatmap, TRUTH, IMDL)
    assert at_frame.size == truth.size == TRUTH.size
    analysed, shrunk = tally.aligned(heatmap, TRUTH, replace(IMDL, scored_at="analysed"))
    assert analysed.size == shrunk.size == heatmap.size
    np.testing.assert_array_equal(analysed > 0.5, shrunk)
    few, thinned = tally.aligned(TRUTH.astype(np.float32), TRUTH, replace(IMDL, most_pixels=150))
    assert few.size == thinned.size == TRUTH[::2, ::2].size


def test_frames_are_squashed_and_coded_anew_before_anybody_sees_them(rng):
    frame = rng.integers(0, 256, (40, 60, 3), np.uint8)
    assert tally.presented(frame, replace(IMDL, squash=32), None, seed=0).shape == (32, 32, 3)
    anew = tally.presented(frame, PROTOCOLS["reencoded"], None, seed=0)
    np.testing.assert_array_equal(anew, jpeg(frame, PROTOCOLS["reencoded"].reencode))
    noisy = [
        tally.presented(frame, IMDL, lambda f, r, _: f + r.integers(0, 9, f.shape, np.uint8), seed=s) for s in (1, 1, 2)
    ]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert (noisy[0] != noisy[2]).any()


def test_histograms_keep_what_a_set_needs(rng):
    heatmap, truth = rng.random(5000).astype(np.float32), rng.random(5000) < 0.2
    counts = tally.histograms(heatmap, truth)
    assert counts["positives"].sum() == truth.sum()
    assert counts["negatives"].sum() == (~truth).sum()
    roc = Roc.of_histograms(counts["positives"], counts["negatives"], tally.LEVELS)
    assert roc.auc() == pytest.approx(metrics.auc(heatmap, truth), abs=1e-3)
    assert roc.f1()[roc.index(0.5)] == pytest.approx(metrics.f1(heatmap, truth))
    assert tally.histograms(np.array([0.0, 1.0], np.float32), np.array([False, True]))["positives"][-1] == 1


def test_the_four_papers_have_their_protocols_by_name():
    assert {"psccnet", "mantranet", "gsrnet", "gsrnet_cleaned", "mag", "imdl", "reencoded"} == set(PROTOCOLS)
    assert set(PIXEL) == set(IMDL.pixel)
    assert PROTOCOLS["reencoded"] == replace(IMDL, name="reencoded", reencode=90, source=PROTOCOLS["reencoded"].source)
    for rules in PROTOCOLS.values():
        assert rules.name in str(rules)
        assert rules.inversion in str(rules)
        assert rules.source


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no protocol named 'psccnett'\n  -> did you mean 'psccnet'"):
        protocol("psccnett")
    with pytest.raises(ValueError, match="no pixel figure named 'f2'"):
        Protocol(name="mine", source="me", pixel=("f2",))
