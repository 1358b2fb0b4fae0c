"""Settings of a wrong type or out of range are refused before anything is loaded, in words."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import sdk
from sdk.recipe import MOST_THREADS, SMALLEST, Recipe
from tests.sdk import toy


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"model": 3}, "model is 3\n  -> give a name or the path"),
        ({"device": None}, "device is None\n  -> give a name"),
        ({"precision": 16}, "precision is 16"),
        ({"backend": 1}, "backend is 1"),
        ({"working_size": "native"}, "working_size is 'native'\n  -> give px from 32 up, 0 for the frame's own size"),
        ({"working_size": SMALLEST - 1}, "working_size is 31"),
        ({"working_size": -1}, "working_size is -1"),
        ({"working_size": 512.0}, r"working_size is 512\.0"),
        ({"working_size": True}, "working_size is True"),
        ({"threads": 0}, "threads is 0\n  -> give 1 to 512, or None"),
        ({"threads": MOST_THREADS + 1}, "threads is 513\n  -> give 1 to 512, or None"),
        ({"threads": "2"}, "threads is '2'"),
        ({"min_score": "a"}, r"min_score is 'a'\n  -> give a number in \[0, 1\]"),
        ({"min_score": float("nan")}, "min_score is nan"),
        ({"min_score": -0.1}, r"min_score is -0\.1"),
        ({"min_score": 1.5}, r"min_score is 1\.5\n  -> give a number in \[0, 1\]"),
        ({"min_score": np.nextafter(1, 2)}, "min_score is "),
        ({"min_score": True}, r"min_score is True\n  -> give a number in \[0, 1\]"),
        ({"min_score": np.True_}, r"min_score is np\.True_\n  -> give a number in \[0, 1\]"),
        ({"min_score": np.float32("nan")}, r"min_score is np\.float32\(nan\)\n  -> give a number"),
        ({"min_score": 10**400}, r"min_score is 1000+\n  -> give a number in \[0, 1\]"),
        ({"limits": {"pixels": 3}}, r"limits is \{'pixels': 3\}\n  -> give sdk\.Limits"),
    ],
    ids=str,
)
def test_refused(setting, words):
    with pytest.raises(sdk.BadSetting, match=words):
        Recipe(**{"model": None, **setting})


@pytest.mark.parametrize("setting", [{"working_size": 0}, {"working_size": SMALLEST}, {"threads": 1}, {"min_score": 1}])
def test_accepted(setting):
    assert {name: getattr(Recipe(model=None, **setting), name) for name in setting} == setting


@pytest.mark.parametrize("number", [np.float32(0.3), np.float64(0.3), np.int64(1), Fraction(1, 4)], ids=repr)
def test_a_minimum_score_is_a_number_of_any_kind(number):
    kept = Recipe(model=None, min_score=number).min_score
    assert type(kept) is float
    assert kept == number


def test_calls_check_what_they_are_given(tmp_path):
    with sdk.load(toy.build(tmp_path / "toy"), backend="onnxruntime") as analyzer:
        frame = np.zeros((64, 64, 3), np.uint8)
        assert not analyzer.analyze(frame, min_score=np.float32(0.99)).localised
        with pytest.raises(sdk.BadSetting, match="min_score is nan"):
            analyzer.analyze(frame, min_score=float("nan"))
        with pytest.raises(sdk.BadSetting, match=r"min_score is 1\.5\n  -> give a number in \[0, 1\]"):
            analyzer.analyze(frame, min_score=1.5)
        with pytest.raises(sdk.BadSetting, match="given one source\n  -> give a list"):
            analyzer.analyze_batch("photo.jpg")
        with pytest.raises(sdk.BadSetting, match="height is 0\n  -> give a whole number of pixels, 1 or more"):
            analyzer.warmup(0)


def test_an_unknown_name_may_be_no_name():
    with pytest.raises(sdk.UnknownName, match="no thing named None"):
        raise sdk.UnknownName("thing", None, ["a"])
