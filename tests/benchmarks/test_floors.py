"""A floor is reached, missed, or not measured, and never passes for want of a figure."""

from __future__ import annotations

import json

import pytest

from benchmarks.floors import ASKED, CLASSICAL, marks
from benchmarks.table import RESULTS
from training import models


def made(*, model="psccnet-lite", pixel=0.8, jpeg=0.78, low=0.02, anew=0.7):
    row = {"value": pixel}
    sets = {name: {model: {"pixel_auc": row, "image_auc": {"value": 0.8}}} for name in ("casia1", "imd2020", "comofod")}
    return {
        "predictors": {model: {}},
        "figures": {"imdl": sets, "reencoded": {"casia1": {model: {"image_auc": {"value": anew}}}}},
        "paired": {"imdl": {"casia1": {"pixel_auc": {name: {"low": low} for name in CLASSICAL}}}},
        "robustness": {
            "rows": {
                "casia1": [
                    {"name": "none", "pixel_auc": row},
                    {"name": "jpeg 70", "pixel_auc": {"value": jpeg}},
                    {"name": "resize 0.78", "pixel_auc": {"value": pixel}},
                ]
            }
        },
    }


def missed(result):
    return [mark["what"] for mark in marks(result) if mark["floor"] and not mark["reached"]]


def test_all_floors_can_be_reached():
    assert missed(made()) == []
    goals = {mark["what"]: mark["reached"] for mark in marks(made()) if not mark["floor"]}
    assert goals == {
        "casia1 pixel AUC": False, "imd2020 pixel AUC": True, "comofod pixel AUC": True, "casia1 image AUC": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pixel": 0.74}, "casia1 pixel AUC"),
        ({"jpeg": 0.749}, "jpeg 70"),
        ({"pixel": 0.9, "jpeg": 0.84}, "jpeg 70"),
        ({"low": -0.01}, "above ghost"),
        ({"anew": 0.65}, "encoded anew"),
    ],
)
def test_a_miss_is_named(change, words):
    assert any(words in what for what in missed(made(**change)))


def test_what_was_not_measured_is_missed():
    without = made()
    del without["robustness"]
    assert len(missed(without)) == 2
    assert len(missed({"predictors": {"m": {}}, "figures": {}})) == 4 + len(CLASSICAL)


@pytest.mark.parametrize(("model", "floor"), [("psccnet", 0.75), ("gsrnet", 0.70), ("mantranet", 0.70), ("mag", 0.66)])
def test_each_model_has_a_floor_of_its_own(model, floor):
    for name in (model, f"{model}-lite"):
        assert "casia1 pixel AUC" not in missed(made(model=name, pixel=floor))
        assert "casia1 pixel AUC" in missed(made(model=name, pixel=floor - 0.001))


def test_nothing_is_missed_that_is_not_asked():
    assert missed(made(model="gsrnet-lite", jpeg=0.5, anew=0.5)) == []
    assert len(missed(made(model="gsrnet-lite", low=-0.01))) == len(CLASSICAL)
    assert missed(made(model="mantranet-lite", low=-0.01)) == []


def test_every_architecture_has_its_floors():
    assert {name.partition("-")[0] for name in models.names()} == set(ASKED)


def test_what_is_committed_was_judged_by_these_floors():
    found = list(RESULTS.glob("accuracy-*.json"))
    assert found
    for path in found:
        result = json.loads(path.read_text(encoding="utf-8"))
        assert result["marks"] == marks(result), path.name
