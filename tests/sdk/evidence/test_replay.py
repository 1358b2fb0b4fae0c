"""Replaying what an ensemble found: each of its models by what ran it then."""

from __future__ import annotations

import json

import jsonschema
import pytest

from sdk import analyzer, policy_file
from sdk.contract import ParityRow
from sdk.errors import EvidenceInvalid
from sdk.evidence import chain, record
from sdk.evidence.replay import LEAST, replay
from sdk.evidence.report import page
from sdk.examiner import Examiner
from sdk.recipe import Recipe
from tests.sdk import toy, toy_ensemble

RAN = {"first": "onnxruntime", "second": "openvino"}
SHOWN = {"onnxruntime": 0.125, "openvino": 0.25}
"""Differences of scores in the contract of the second toy."""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble")
    rows = tuple(
        ParityRow(
            case="a", backend=name, precision="f32", size=(8, 8), max_abs_heatmap=0.0, max_abs_score=shown, budget=1.0
        )
        for name, shown in SHOWN.items()
    )
    toy.build(folder / "second", name="second", parity=rows)
    return toy_ensemble.build(folder)


@pytest.fixture(scope="module")
def text(both, policy_path, upload):
    """The record of a file, examined by an ensemble whose models ran on different backends."""
    members = {name: {"backend": backend, "device": "cpu", "precision": "f32"} for name, backend in RAN.items()}
    with analyzer.made(Recipe(model=both, decode="inline", members=members)) as ensemble:
        return chain.seal(Examiner([ensemble], policy_file.read(policy_path)).examine(upload).record)


def test_the_record_says_what_each_model_said_and_what_ran_it(text):
    told = json.loads(text)
    jsonschema.validate(told, json.loads(record.SCHEMA_FILE.read_text(encoding="utf-8")))
    (result,) = told["results"]
    assert {name: member["backend"] for name, member in result["members"].items()} == RAN
    scores = [result["members"][name]["score"] for name in toy_ensemble.NAMES]
    assert toy_ensemble.SCORES.of_scores(scores) == result["score"]


def test_each_model_is_run_again_by_what_ran_it(both, text, upload):
    (again,) = replay(record.loads(text), upload, artifacts={"both": both})
    assert again.identical
    assert {name: member.runtime.backend for name, member in again.analysis.members.items()} == RAN
    assert again.tolerance == SHOWN["openvino"] > LEAST
    assert "by openvino on cpu in f32" in page(text, [again])


def test_a_record_that_does_not_say_what_ran_a_model_is_not_whole(text):
    told = json.loads(text)
    del told["results"][0]["members"]["first"]["backend"]
    with pytest.raises(EvidenceInvalid, match="not whole: its members"):
        record.loads(record.dumps(told))
