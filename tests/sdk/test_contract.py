"""The contract travels through JSON unchanged, and nothing else passes for one."""

from __future__ import annotations

import dataclasses
import json

import pytest

from sdk.contract import Contract, ParityRow, Thresholds, Tiling
from sdk.errors import ArtifactInvalid
from tests.sdk import toy

ROW = ParityRow(
    case="photo",
    backend="openvino",
    precision="f32",
    size=(95, 133),
    max_abs_heatmap=1e-6,
    max_abs_score=2e-7,
    budget=1e-4,
)
LEVELS = {"0.01": 0.5, "0.05": 0.25}
VIDEO = {"0.01": 0.75, "0.05": 0.5}
TERMS = dataclasses.replace(toy.TERMS, parity=(ROW,), settings={"grid": 128, "layout": "paper", "gain": 1.0, "a": True})


def changed(**fields: object) -> str:
    return json.dumps(json.loads(TERMS.to_json()) | fields)


def test_survives_json():
    back = Contract.from_json(TERMS.to_json())
    assert back == TERMS
    assert [type(value) for value in back.settings.values()] == [int, str, float, bool]


def test_a_contract_from_before_qualities_were_told_has_that_of_its_training():
    older = json.loads(TERMS.to_json())
    del older["minimum_quality"]
    assert Contract.from_json(json.dumps(older)).minimum_quality == 55


def test_text_is_the_same_every_time():
    assert TERMS.to_json() == Contract.from_json(TERMS.to_json()).to_json()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"schema_version": 2}, "schema version 2, this imdl-sdk reads 3"),
        ({"colour": "red"}, r"unknown keys \['colour'\]"),
        ({"working_size": True}, "working_size must be int, got True"),
        ({"working_size": 512.0}, "working_size must be int, got 512.0"),
        ({"status": "final"}, "status must be .*preview.*, got 'final'"),
        ({"precisions": "f32"}, "precisions must be a list"),
        ({"sha256": {"a": 1}}, r"sha256\['a'\] must be str"),
        ({"settings": {"grid": None}}, r"settings\['grid'\] must be"),
        ({"plan": [{"graph": "nope"}]}, r"does not have: \['nope'\]"),
        ({"mask_threshold": 1.5}, r"mask_threshold 1\.5 lies outside \[0, 1\]"),
        ({"thresholds": {"0": {"photographs": {"0.01": 0.5}}}}, r"missing for the rates \['0.05'\]"),
        ({"thresholds": {"0": {"photographs": LEVELS, "video": {"0.01": 0.5}}}}, r"missing for the rates \['0.05'\]"),
        ({"thresholds": {"0": {"photographs": {"0.01": 1.5, "0.05": 1}}}}, r"score thresholds lie outside \[0, 1\]"),
        ({"thresholds": {"native": {"photographs": LEVELS}}}, r"no working sizes: \['native'\]"),
    ],
)
def test_refuses_what_it_does_not_know(fields, words):
    with pytest.raises(ArtifactInvalid, match=words):
        Contract.from_json(changed(**fields))


def test_thresholds_belong_to_a_working_size():
    terms = Contract.from_json(changed(thresholds={"512": {"photographs": LEVELS, "video": VIDEO}}))
    assert terms.working_sizes == (512,)
    assert terms.at(512) == Thresholds(photographs=LEVELS, video=VIDEO)
    assert terms.at(0) is None


def test_refuses_a_missing_key():
    fields = json.loads(TERMS.to_json())
    del fields["licence"]
    with pytest.raises(ArtifactInvalid, match=r"lacks \['licence'\]"):
        Contract.from_json(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_refuses_what_is_no_object(text):
    with pytest.raises(ArtifactInvalid, match=r"not JSON|schema version None"):
        Contract.from_json(text)


def test_an_integer_is_a_float_and_a_pair_has_two():
    assert Contract.from_json(changed(mask_threshold=1)).mask_threshold == 1.0
    row = dataclasses.asdict(ROW) | {"size": [95, 133, 3]}
    with pytest.raises(ArtifactInvalid, match=r"parity\[0\].size must be a list of 2"):
        Contract.from_json(changed(parity=[row]))


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"align": 3}, "do not fall on the outputs' grids"), ({"halo": -1}, "negative"), ({"width": 0}, "empty extent")],
)
def test_refuses_a_tiling_that_cannot_be(fields, words):
    with pytest.raises(ArtifactInvalid, match=words):
        dataclasses.replace(toy.TILING, **fields)
    assert isinstance(toy.TILING, Tiling)


def test_maps_that_only_later_graphs_read_may_have_a_type_of_their_own():
    assert TERMS.handed_on("local") == TERMS.handed_on("rest") == {"l0", "l1"}
    assert TERMS.handed_on("shrink") == set()


def test_what_is_read_in_f32_whatever_the_precision_keeps_its_type():
    graphs = TERMS.graphs | {"rest": dataclasses.replace(TERMS.graphs["rest"], exact=True)}
    assert dataclasses.replace(TERMS, graphs=graphs).handed_on("local") == set()
