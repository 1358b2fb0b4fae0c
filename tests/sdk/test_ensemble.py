"""An artifact that asks two others: one answer, by the models it was made with, and of a cascade by those needed."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

import sdk
from sdk import __main__ as cli
from sdk import artifact
from sdk.ensemble import Ensemble
from sdk.results import SCHEMA
from tests.sdk import toy, toy_ensemble
from tests.sdk.files import scene
from tests.sdk.toy_ensemble import HEATMAPS, SCORES


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "artifacts"


@pytest.fixture
def bright(rng) -> np.ndarray:
    return scene(rng, 70, 80, low=200, high=250)


@pytest.fixture
def dark(rng) -> np.ndarray:
    return scene(rng, 70, 80, low=10, high=60)


def load(path, **settings) -> sdk.Analyzer:
    return sdk.load(path, device="cpu", decode="inline", threads=1, **settings)


def test_the_answer_is_the_combination_of_what_each_says_alone(folder, bright):
    with load(toy_ensemble.build(folder)) as both, load(folder / "first") as first, load(folder / "second") as second:
        assert isinstance(both, Ensemble)
        found, alone = both.analyze(bright), [one.analyze(bright) for one in (first, second)]
    assert found.score == SCORES.of_scores([one.score for one in alone])
    expected = HEATMAPS.of_heatmaps([one.heatmap for one in alone], bright.shape[:2])
    np.testing.assert_array_equal(found.heatmap, expected)
    assert found.mask_threshold == 0.6
    assert {name: one.score for name, one in found.members.items()} == {
        "first": alone[0].score,
        "second": alone[1].score,
    }
    assert found.members["second"].runtime == alone[1].runtime
    assert (found.runtime.model, found.runtime.artifact) == ("both", artifact.read(folder / "both").digest)
    assert list(found.latency.stages) == ["decode", "first", "second", "result"]
    assert set(found.to_dict()["members"]) == {"first", "second"}


def test_json_and_words_tell_which_models_ran(folder, bright):
    jsonschema = pytest.importorskip("jsonschema")
    with load(toy_ensemble.build(folder, toy_ensemble.cascade((0.0, 0.0)))) as cascade:
        found = cascade.analyze(bright)
    told = json.loads(found.to_json())
    jsonschema.validate(told, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert list(told["members"]) == ["first"]
    assert told["members"]["first"]["runtime"]["artifact"] == artifact.read(folder / "first").digest
    assert repr(found).endswith("both 0.1, PREVIEW weights, asked first)")


def test_the_verdict_is_by_the_thresholds_of_the_ensemble(folder, bright, dark):
    with load(toy_ensemble.build(folder)) as both:
        found = both.analyze(bright)
        assert found.verdict.name == ("manipulated" if found.score >= 0.9 else "suspicious")
        assert both.analyze(dark).verdict.name == "no_evidence"


def test_a_cascade_asks_the_second_model_only_where_the_first_is_unsure(folder, bright, dark):
    toy_ensemble.build(folder)
    with load(folder / "first") as first:
        sure, unsure = first.analyze(bright).score, first.analyze(dark).score
    path = toy_ensemble.build(folder, toy_ensemble.cascade((0.0, (sure + unsure) / 2)))
    with load(path) as cascade:
        early, late, again = cascade.analyze_batch([bright, dark, bright])
    assert [list(found.members) for found in (early, late, again)] == [["first"], ["first", "second"], ["first"]]
    assert early.score == again.score == pytest.approx(sure, abs=1e-6)
    assert late.score == pytest.approx(SCORES.of_scores([unsure, unsure]), abs=1e-6)
    assert "second" not in early.latency.stages
    np.testing.assert_array_equal(early.heatmap, again.heatmap)
    with load(path) as cascade:
        np.testing.assert_allclose(cascade.analyze(dark).heatmap, late.heatmap, atol=1e-6)


def test_below_min_score_there_is_no_heatmap(folder, bright):
    with load(toy_ensemble.build(folder)) as both:
        score = both.analyze(bright).score
        assert both.analyze(bright, min_score=score).localised
        assert not both.analyze(bright, min_score=np.nextafter(score, 1)).localised
        assert not both.analyze(bright, min_score=1.0).localised


def test_a_model_whose_heatmap_has_no_weight_does_not_localise(folder, bright, monkeypatch):
    asked = {}
    stages = (sdk.members.Stage(score=SCORES, heatmap=sdk.members.Combination(offset=0.0, weights=(0.0, 1.0))),)
    with load(toy_ensemble.build(folder, stages)) as both:
        for name, analyzer in both.analyzers.items():
            plain = analyzer.analyze_batch
            monkeypatch.setattr(
                analyzer,
                "analyze_batch",
                lambda *given, plain=plain, name=name, **settings: (
                    asked.update({name: settings["min_score"]}) or plain(*given, **settings)
                ),
            )
        both.analyze(bright)
    assert asked == {"first": 1.0, "second": 0.0}


def test_other_weights_than_it_was_made_with_are_refused(folder):
    path = toy_ensemble.build(folder)
    toy.seal(folder / "second", toy.dataclasses.replace(toy.TERMS, name="second", version="0.2"))
    with pytest.raises(sdk.ArtifactInvalid, match="was made with another second"):
        load(path)
    (path / artifact.MEMBERS).write_text("{}")
    with pytest.raises(sdk.ArtifactInvalid, match=r"members\.json does not match its SHA-256"):
        load(path)


def test_a_file_of_members_that_the_contract_does_not_vouch_for_is_refused(folder):
    path = toy_ensemble.build(folder)
    terms = (path / artifact.MEMBERS).read_text()
    (path / artifact.MEMBERS).unlink()
    toy.seal(path, toy.dataclasses.replace(toy.TERMS, name="both", graphs={}, plan=()))
    (path / artifact.MEMBERS).write_text(terms)
    with pytest.raises(sdk.ArtifactInvalid, match=r"no checksum of members\.json"):
        load(path)


def test_a_size_that_it_was_not_fitted_at_is_refused(folder):
    with pytest.raises(sdk.BadSetting, match=r"working_size is 64, and both-0\.1 was fitted at its models' own"):
        load(toy_ensemble.build(folder), working_size=64)


def test_closed_pickled_and_warmed_up_as_any_analyzer(folder, bright):
    both = load(toy_ensemble.build(folder))
    both.warmup(70, 80)
    assert both.parallel >= 1
    assert both.choice.precision == "f32"
    assert repr(both) == "Analyzer(both 0.1, PREVIEW weights, working size native)"
    again = pickle.loads(pickle.dumps(both))
    assert again.analyze(bright).score == both.analyze(bright).score
    again.close()
    both.close()
    both.close()
    with pytest.raises(sdk.AnalyzerClosed, match="this Analyzer was closed"):
        both.analyze(bright)


def test_one_that_ships_is_loaded_by_its_name_and_is_none_of_all_models(folder, bright, monkeypatch, capsys):
    toy_ensemble.build(folder)
    monkeypatch.setattr(artifact, "SHIPPED", folder)
    assert sdk.analyze(bright, model="both", device="cpu").runtime.model == "both"
    assert list(sdk.analyze(bright, model="all", device="cpu").analyses) == ["first", "second"]
    sdk.close()
    assert cli.main(["models", "verify"]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["both", "first", "second"]


def test_a_video_is_analysed_with_it(folder, bright, dark):
    with load(toy_ensemble.build(folder)) as both, sdk.stream([bright, dark], both) as moments:
        found = [moment.analysis for moment in moments]
    assert [list(one.members) for one in found] == [["first", "second"]] * 2
    assert found[0].verdict.reason == "which scores authentic frames of video reach was not measured"


def test_progress_says_whose_stage_it_is(folder, bright):
    told = []
    with load(toy_ensemble.build(folder)) as both:
        both.analyze(bright, progress=told.append)
    assert {piece.stage.split()[0] for piece in told} == {"first", "second"}
