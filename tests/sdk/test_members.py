"""How several answers become one: against float64, in its range, and monotone in each of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special

from sdk.errors import ArtifactInvalid
from sdk.members import LARGEST, Combination, Member, Stage, Terms, expit, logit
from tests.sdk.toy_ensemble import HEATMAPS, SCORES, WHOLE, cascade

probabilities = st.floats(0, 1)
MEMBERS = tuple(Member(name=name, artifact="0" * 64, working_size=512) for name in ("first", "second"))
TERMS = Terms(members=MEMBERS, stages=cascade((0.25, 0.75)))


@given(scores=st.tuples(probabilities, probabilities))
def test_scores_come_to_the_logistic_of_their_weighed_log_odds(scores):
    log_odds = np.clip(special.logit(scores), -LARGEST, LARGEST)
    expected = special.expit(SCORES.offset + np.dot(SCORES.weights, log_odds))
    assert SCORES.of_scores(scores) == pytest.approx(expected, abs=1e-12)


@given(one=probabilities, other=probabilities, third=probabilities)
def test_no_model_that_says_more_lowers_the_score(one, other, third):
    low, high = sorted((one, other))
    assert SCORES.of_scores((low, third)) <= SCORES.of_scores((high, third))
    assert SCORES.of_scores((third, low)) <= SCORES.of_scores((third, high))


@given(maps=arrays(np.float32, (2, 5, 7), elements=st.floats(0, 1, width=32)))
def test_every_pixel_comes_to_what_scores_would(maps):
    found = HEATMAPS.of_heatmaps(list(maps), maps.shape[1:])
    assert found.dtype == np.float32
    expected = [[HEATMAPS.of_scores(maps[:, y, x]) for x in range(7)] for y in range(5)]
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_heatmap_without_weight_need_not_be_there(rng):
    heatmap = rng.random((4, 6), np.float32)
    alone = Combination(offset=0.0, weights=(1.0, 0.0))
    np.testing.assert_allclose(alone.of_heatmaps([heatmap, None], heatmap.shape), heatmap, atol=1e-6)


@given(arrays(np.float64, 9, elements=st.floats(-700, 700)))
def test_expit_is_scipys_and_logit_its_inverse(values):
    np.testing.assert_allclose(expit(values), special.expit(values), atol=1e-15)
    inside = np.clip(values, -13, 13)
    np.testing.assert_allclose(logit(expit(inside)), inside, rtol=1e-9, atol=1e-9)


def test_terms_survive_json():
    assert Terms.from_json(TERMS.to_json()) == TERMS
    assert [stage.goes_on(0.5) for stage in TERMS.stages] == [True, False]
    assert [TERMS.stages[0].goes_on(score) for score in (0.2, 0.25, 0.75)] == [False, True, False]


def test_what_json_gets_wrong_is_told():
    fields = json.loads(TERMS.to_json())
    for change, words in (
        ({"schema_version": 2}, "schema version 2"),
        ({"extra": 1}, r"unknown keys \['extra'\]"),
        ({"members": []}, "do not end with all of its models"),
        ({"stages": fields["stages"][:1]}, "do not end with all of its models"),
        ({"stages": fields["stages"][::-1]}, "do not end with all of its models"),
        ({"members": [fields["members"][0]] * 2}, "asks one model twice"),
    ):
        with pytest.raises(ArtifactInvalid, match=words):
            Terms.from_json(json.dumps(fields | change))
    with pytest.raises(ArtifactInvalid, match="not JSON"):
        Terms.from_json("{")


def test_a_last_stage_that_goes_on_is_refused():
    endless = (Stage(score=SCORES, heatmap=HEATMAPS, band=(0.4, 0.6)),)
    with pytest.raises(ArtifactInvalid, match="do not end"):
        Terms(members=MEMBERS, stages=endless)
    with pytest.raises(ArtifactInvalid, match="weighs scores and heatmaps of other models"):
        Terms(members=MEMBERS, stages=(Stage(score=SCORES, heatmap=Combination(offset=0.0, weights=(1.0,))),))


def test_negative_weights_and_no_numbers_are_refused():
    for values in ({"offset": 0.0, "weights": (1.0, -0.1)}, {"offset": float("nan"), "weights": (1.0,)}):
        with pytest.raises(ArtifactInvalid, match="negative or no numbers"):
            Combination(**values)


def test_a_model_whose_heatmap_no_stage_uses_does_not_localise():
    blind = Stage(score=SCORES, heatmap=Combination(offset=0.0, weights=(0.0, 1.0)))
    terms = Terms(members=MEMBERS, stages=(blind,))
    assert [terms.localises(index) for index in (0, 1)] == [False, True]
    assert Terms(members=MEMBERS, stages=WHOLE).localises(0)
