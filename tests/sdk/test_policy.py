"""Policies: which findings lead to which action."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.errors import BadSetting, UnknownName
from sdk.policy import Finding, Policy, Threshold, Thresholds

RATES = {"0.01": 0.9, "0.05": 0.7}
ACTIONS = ["pass", "review", "block"]


def finding(score: float, *, area: float | None = 0.1, inconclusive: str = "") -> Finding:
    return Finding(score, area, inconclusive, RATES)


def policy(agree: int = 1, models: tuple[str, ...] = (), **limits: object) -> Policy:
    levels = {"review": Threshold(false_alarms=0.05), "block": Threshold(score=0.95)} | limits
    return Policy(name="p", version=3, sha256="0" * 64, thresholds={"default": Thresholds(**levels)}, models=models,
                  agree=agree)  # fmt: skip


@pytest.mark.parametrize(
    ("score", "action"), [(0.69, "pass"), (0.7, "review"), (0.94, "review"), (0.95, "block"), (1.0, "block")]
)
def test_an_action_is_taken_from_its_threshold_on(score, action):
    assert policy().decide({"a": finding(score)}).action == action


def test_a_mask_that_is_too_small_leads_to_nothing():
    decide = policy(minimum_area=0.02).decide
    assert decide({"a": finding(1.0, area=0.019)}).action == "pass"
    assert decide({"a": finding(1.0, area=0.02)}).action == "block"
    with pytest.raises(BadSetting, match="needs masks"):
        decide({"a": finding(1.0, area=None)})


def test_as_many_models_have_to_agree_as_the_policy_says():
    scores = {"a": finding(0.99), "b": finding(0.8), "c": finding(0.1)}
    assert [policy(agree=n).decide(scores).action for n in (1, 2, 3)] == ["block", "review", "pass"]


def test_only_the_models_that_are_named_are_heard():
    scores = {"a": finding(0.99), "b": finding(0.1)}
    assert policy(models=("b",)).decide(scores).action == "pass"
    with pytest.raises(BadSetting, match="wants 1 of c, and only a, b was run"):
        policy(models=("c",)).decide(scores)


def test_a_model_that_is_inconclusive_has_no_vote():
    silent = finding(1.0, inconclusive="the frame is flat")
    decision = policy().decide({"a": silent})
    assert (decision.action, decision.reasons) == ("review", ("a: inconclusive, the frame is flat",))
    assert policy().decide({"a": silent, "b": finding(0.1)}).action == "pass"


def test_a_rate_that_was_not_measured_is_no_threshold():
    strange = policy(review=Threshold(false_alarms=0.02))
    with pytest.raises(BadSetting, match=r"share of 0.02 .* was not measured"):
        strange.decide({"a": finding(0.1)})


def test_a_content_type_has_thresholds_of_its_own():
    strict = {"default": Thresholds(), "claim": Thresholds(review=Threshold(score=0.2))}
    judge = Policy(name="p", version=1, sha256="", thresholds=strict)
    assert judge.decide({"a": finding(0.5)}).action == "pass"
    assert judge.decide({"a": finding(0.5)}, content="claim").action == "review"
    with pytest.raises(UnknownName, match="did you mean 'claim'"):
        judge.decide({"a": finding(0.5)}, content="clami")


def test_reasons_say_which_number_was_compared_with_which():
    (reason,) = policy().decide({"a": finding(0.8)}).reasons
    assert reason == "a: score 0.800 reaches 0.700"


@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=4), which=st.integers(0, 3), more=st.floats(0, 1))
def test_a_higher_score_never_leads_to_less(scores, which, more):
    lower = {str(i): finding(score) for i, score in enumerate(scores)}
    name = str(which % len(scores))
    higher = lower | {name: finding(max(scores[int(name)], more))}
    before, after = (ACTIONS.index(policy().decide(each).action) for each in (lower, higher))
    assert after >= before


@given(scores=st.lists(st.floats(0, 1), min_size=2, max_size=4))
def test_asking_for_more_agreement_never_leads_to_more(scores):
    found = {str(i): finding(score) for i, score in enumerate(scores)}
    taken = [ACTIONS.index(policy(agree=n).decide(found).action) for n in range(1, len(scores) + 1)]
    assert taken == sorted(taken, reverse=True)


def frames(passed: int, review: int = 0, block: int = 0) -> dict:
    return {"pass": passed, "review": review, "block": block}


@pytest.mark.parametrize(
    ("share", "counted", "action"),
    [
        (0.0, frames(1000, review=1), "review"),
        (0.0, frames(1000), "pass"),
        (0.1, frames(63, review=7), "review"),
        (0.1, frames(64, review=6), "pass"),
        (0.1, frames(90, review=5, block=5), "review"),
        (0.1, frames(90, block=10), "block"),
        (1.0, frames(0, review=3), "review"),
    ],
)
def test_of_a_video_a_share_of_its_frames_has_to_lead_to_an_action(share, counted, action):
    decision = policy(minimum_frames=share).decide_video(counted)
    assert decision.action == action
    assert f"of {sum(counted.values())} frames" in decision.reasons[0]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_one_more_frame_that_leads_to_something_never_leads_to_less(passed, review, block, share):
    decide = policy(minimum_frames=share).decide_video
    before = decide(frames(passed, review, block)).action if passed + review + block else "pass"
    for after in (frames(passed, review + 1, block), frames(passed, review, block + 1)):
        if before != "block" or after["block"] > block:
            assert ACTIONS.index(decide(after).action) >= ACTIONS.index(before)
