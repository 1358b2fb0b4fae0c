"""Verdicts follow the thresholds, and where nothing was measured there is none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sdk.contract import Thresholds
from sdk.verdict import judge, told
from tests.sdk.files import scene
from tests.sdk.toy import TERMS


@pytest.mark.parametrize(
    ("score", "name"),
    [(0.0, "no_evidence"), (0.599, "no_evidence"), (0.6, "suspicious"), (0.8, "manipulated"), (1.0, "manipulated")],
)
def test_thresholds_belong_to_the_stronger_verdict(frame, score, name):
    verdict = judge(score, frame, TERMS, working_size=0)
    assert verdict.name == str(verdict) == name
    assert verdict.found == (score >= 0.6)
    assert f"{score:.3f}" in verdict.reason


def test_thresholds_are_those_of_the_working_size(frame):
    lower = Thresholds(photographs={"0.01": 0.2, "0.05": 0.1})
    terms = dataclasses.replace(TERMS, thresholds={**TERMS.thresholds, "64": lower})
    assert [judge(0.2, frame, terms, working_size=size).name for size in (0, 64)] == ["no_evidence", "manipulated"]


def flat(level):
    return np.full((80, 80, 3), level, np.uint8)


def saturated():
    frame = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    frame[:60], frame[60:96] = 255, 0
    return frame


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (flat(128), "flat: its grey levels deviate by 0.0"),
        (flat(255), "100% of the pixels are pure black or white"),
        (flat(0), "100% of the pixels are pure black or white"),
        (saturated(), "96% of the pixels"),
        (np.zeros((63, 500, 3), np.uint8), "short side is 63 px, accuracy was measured from 64"),
    ],
    ids=["grey", "white", "black", "saturated", "small"],
)
def test_outside_what_was_measured_no_score_convinces(frame, words):
    verdict = judge(1.0, frame, TERMS, working_size=0)
    assert verdict.name == "inconclusive"
    assert words in verdict.reason
    assert not verdict.found


@pytest.mark.parametrize(("quality", "name"), [(1, "inconclusive"), (54, "inconclusive"), (55, "manipulated")])
def test_below_the_quality_of_training_a_jpeg_is_inconclusive(frame, quality, name):
    terms = dataclasses.replace(TERMS, minimum_quality=55)
    verdict = judge(1.0, frame, terms, working_size=0, quality=quality)
    assert verdict.name == name
    assert (f"JPEG of quality {quality} or the like" in verdict.reason) == (name == "inconclusive")
    assert judge(1.0, frame, terms, working_size=0, quality=None).name == "manipulated"


def test_a_working_size_that_is_not_in_the_card_is_inconclusive(frame):
    none = dataclasses.replace(TERMS, thresholds={})
    assert judge(1.0, frame, none, working_size=0).reason.endswith("was not measured, only at none")
    verdict = judge(1.0, frame, TERMS, working_size=128)
    assert verdict.reason == "accuracy at working size 128 was not measured, only at native, 64"
    assert judge(1.0, frame, TERMS, working_size=64).name == "manipulated"


def test_noise_is_inconclusive(rng):
    verdict = judge(1.0, rng.integers(0, 256, (80, 80, 3), np.uint8), TERMS, working_size=0)
    assert (verdict.name, verdict.found) == ("inconclusive", False)
    assert "the frame is noise or a fine pattern" in verdict.reason


def test_saturated_colours_are_content(frame):
    frame[:, :, 0] = 255
    assert judge(0.0, frame, TERMS, working_size=0).name == "no_evidence"


def test_a_large_frame_is_judged_by_a_sample_of_it(rng):
    frame = scene(rng, 2100, 2100)
    assert judge(0.0, frame, TERMS, working_size=0).name == "no_evidence"


@pytest.mark.parametrize(
    ("score", "level", "words"),
    [
        (0.7, 0.6, "0.700 reaches 0.600"),
        (0.6, 0.6, "0.600 reaches 0.600"),
        (0.9974, 0.9971, "0.9974 reaches 0.9971"),
    ],
)
def test_a_reason_tells_score_and_threshold_apart(score, level, words):
    assert told(score, "reaches", level) == words
