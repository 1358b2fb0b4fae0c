"""Several models on one frame: decoded once, counted right, and one that fails does not silence the others."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import sdk
from sdk import __main__ as cli
from sdk import artifact
from sdk.agreement import SCHEMA, VERDICTS, overlap
from sdk.contract import Thresholds
from sdk.results import SCHEMA as ANALYSIS_SCHEMA
from sdk.results import Latency
from tests.sdk import toy
from tests.sdk.files import scene
from tests.sdk.test_results import analysis

MASK = np.zeros((40, 60), np.float32)
MASK[:10, :30] = 0.9
SHIFTED = np.roll(MASK, 15, axis=1)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of artifacts, as they ship: two that answer, the second of which calls little manipulated."""
    toy.build(tmp_path / "artifacts" / "easy", name="easy")
    high = {"0": Thresholds(photographs={"0.01": 0.99, "0.05": 0.98})}
    toy.build(tmp_path / "artifacts" / "strict", name="strict", thresholds=high)
    return tmp_path / "artifacts"


@pytest.fixture
def shipped(models, monkeypatch) -> Path:
    """The folder as that of the package."""
    monkeypatch.setattr(artifact, "SHIPPED", models)
    yield models
    sdk.close()


@pytest.fixture
def bright(rng) -> np.ndarray:
    return scene(rng, 70, 80, low=200, high=250)


def agreed(*heatmaps: np.ndarray | None, **changes: object) -> sdk.Agreement:
    analyses = {f"model {i}": analysis(heatmap) for i, heatmap in enumerate(heatmaps)}
    agreement = sdk.Agreement(analyses=analyses, latency=Latency({"decode": 1.0}, 4.0))
    return dataclasses.replace(agreement, **changes)


def test_overlap_is_intersection_over_union(rng):
    one, other = rng.random((2, 30, 40)) < 0.3
    pairs = set(zip(*np.nonzero(one), strict=True)), set(zip(*np.nonzero(other), strict=True))
    assert overlap(one, other) == pytest.approx(len(pairs[0] & pairs[1]) / len(pairs[0] | pairs[1]))
    assert overlap(one, one) == 1.0
    assert overlap(one, ~one) == 0.0
    assert overlap(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) is None
    assert overlap(one, None) is None


def test_every_two_models_are_compared_once():
    found = agreed(MASK, SHIFTED, np.zeros_like(MASK))
    assert found.overlaps == {
        ("model 0", "model 1"): pytest.approx(1 / 3),
        ("model 0", "model 2"): 0.0,
        ("model 1", "model 2"): 0.0,
    }


def test_frames_of_several_sizes_are_no_agreement():
    with pytest.raises(sdk.BadFrame, match="frames of 2 sizes"):
        agreed(MASK, np.zeros((5, 5), np.float32))
    with pytest.raises(sdk.BadFrame, match="frames of 0 sizes"):
        agreed()


def test_all_shipped_models_answer_as_each_does_alone(shipped, bright):
    found = sdk.analyze(bright, model="all", device="cpu", decoder="made 1.0")
    assert list(found.analyses) == ["easy", "strict"]
    for name, one in found.analyses.items():
        alone = sdk.analyze(bright, model=name, device="cpu")
        assert (one.score, one.verdict) == (alone.score, alone.verdict)
        np.testing.assert_array_equal(one.heatmap, alone.heatmap)
        assert one.runtime.decoder == f"{alone.runtime.decoder}, decoded by made 1.0"
    assert found.votes == dict.fromkeys(VERDICTS, 0) | {"manipulated": 1, "no_evidence": 1}
    assert found.found == ("easy",)
    assert found.overlaps == {("easy", "strict"): 1.0}  # the same network twice
    assert repr(found).startswith("Agreement(1 of 2 found something: easy manipulated 0.")


def test_a_file_is_decoded_once(models, bright, tmp_path, monkeypatch):
    Image.fromarray(bright).save(tmp_path / "bright.png")
    decoded = []
    decode = sdk.decoding.Decoder.decode

    def counted(self, *given, **settings):
        decoded.append(0)
        return decode(self, *given, **settings)

    monkeypatch.setattr(sdk.decoding.Decoder, "decode", counted)
    with sdk.load_all(sorted(models.iterdir()), decode="inline") as analyzers:
        found = analyzers.analyze(tmp_path / "bright.png")
    assert len(found.analyses) == 2
    assert len(decoded) == 1
    assert set(found.latency.stages) == {"decode", "easy", "strict"}


def test_a_model_that_cannot_be_loaded_is_told_and_the_others_answer(shipped, bright):
    (shipped / "easy" / "rest.onnx").write_bytes(b"damaged")
    found = sdk.analyze(bright, model="all", device="cpu")
    assert list(found.analyses) == ["strict"]
    assert "does not match its SHA-256" in found.failures["easy"].problem
    assert found.overlaps == {}
    (shipped / "strict" / "rest.onnx").write_bytes(b"damaged")
    with pytest.raises(sdk.ArtifactInvalid, match="easy is damaged"):
        sdk.load_all()


def test_a_model_that_fails_at_one_frame_is_told_and_the_others_answer(models, bright, monkeypatch):
    with sdk.load_all(sorted(models.iterdir()), decode="inline") as analyzers:
        easy, strict = analyzers.analyzers.values()
        monkeypatch.setattr(easy, "_run", lambda *_: refuse("easy"))
        found = analyzers.analyze(bright)
        assert list(found.analyses) == ["strict"]
        assert found.failures["easy"].problem == "easy has no memory"
        monkeypatch.setattr(strict, "_run", lambda *_: refuse("strict"))
        with pytest.raises(sdk.RunFailed, match="easy has no memory"):
            analyzers.analyze(bright)


def refuse(name: str) -> None:
    raise sdk.RunFailed(f"{name} has no memory", remedy="buy some")


def test_what_is_wrong_with_the_input_is_raised_and_closed_is_closed(models, tmp_path, bright):
    with sdk.load_all(sorted(models.iterdir()), decode="inline") as analyzers:
        with pytest.raises(sdk.DecodeFailed, match="nothing"):
            analyzers.analyze(tmp_path / "nothing.png")
        with pytest.raises(sdk.BadSetting, match="min_score is -1"):
            analyzers.analyze(bright, min_score=-1)
    with pytest.raises(sdk.AnalyzerClosed, match="was closed"):
        analyzers.analyze(bright)


def test_a_closed_one_starts_no_decoding_process(models, tmp_path, bright):
    Image.fromarray(bright).save(tmp_path / "bright.png")
    with sdk.load_all([models / "easy"], decode="worker") as analyzers:
        pass
    with pytest.raises(sdk.AnalyzerClosed, match="was closed"):
        analyzers.analyze(tmp_path / "bright.png")
    assert not analyzers.analyzers["easy"]._decoder._pools


def test_two_models_of_one_name_and_none_at_all_are_refused(models):
    with pytest.raises(sdk.BadSetting, match="two models are called easy"):
        sdk.load_all([models / "easy", models / "easy"])
    with pytest.raises(sdk.ArtifactInvalid, match="no model to load"):
        sdk.load_all([])


def test_analyzers_travel_and_show_who_they_are(models, bright):
    (models / "broken").mkdir()
    with sdk.load_all(sorted(models.iterdir()), decode="inline") as analyzers:
        assert repr(analyzers) == "Analyzers(easy, strict; could not be loaded: broken)"
        expected = analyzers.analyze(bright, min_score=0.99)
        with pickle.loads(pickle.dumps(analyzers)) as travelled:
            found = travelled.analyze(bright, min_score=0.99)
    assert [one.heatmap for one in found.analyses.values()] == [None, None]
    assert found.overlaps == expected.overlaps == {("easy", "strict"): None}
    assert list(found.failures) == ["broken"]


def test_progress_says_whose_stage_it_is(models, rng):
    told = []
    with sdk.load_all(sorted(models.iterdir()), decode="inline") as analyzers:
        analyzers.analyze(rng.integers(0, 200, (64, 96, 3), np.uint8), progress=told.append)
    assert {piece.stage for piece in told} == {
        f"{m} {g}" for m in ("easy", "strict") for g in ("local", "rest", "locate")
    }


def test_json_is_what_the_published_schema_says():
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    analyses = referencing.Resource.from_contents(json.loads(ANALYSIS_SCHEMA.read_text(encoding="utf-8")))
    registry = referencing.Registry().with_resource(ANALYSIS_SCHEMA.name, analyses)
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    valid = jsonschema.Draft202012Validator(schema, registry=registry)
    failed = agreed(MASK, None, failures={"other": sdk.RunFailed("no memory", remedy="buy some")})
    for found in (agreed(MASK, SHIFTED), failed):
        valid.validate(json.loads(found.to_json()))
        assert set(found.to_dict()) == set(schema["required"])
    with pytest.raises(jsonschema.ValidationError, match="not valid under any of the given schemas"):
        valid.validate(failed.to_dict() | {"overlaps": [{"models": ["a", "b"], "iou": 1.5}]})


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 2, 2)])
def test_overlays_stand_side_by_side(count, rows, columns, tmp_path):
    found = agreed(*[MASK] * count)
    alone = np.asarray(Image.open(next(iter(found.analyses.values())).save_overlay(tmp_path / "one.png")))
    sheet = np.asarray(Image.open(found.save_overlay(tmp_path / "all.png")))
    height, width = alone.shape[:2]
    assert sheet.shape == (rows * height, columns * width, 3)
    for place in range(count):
        top, left = place // columns * height, place % columns * width
        np.testing.assert_array_equal(sheet[top : top + height, left : left + width], alone)


def test_overlays_are_written_to_a_path():
    with pytest.raises(sdk.BadSetting, match=r"written to None\n  -> give the path of a file: photo-overlay\.png"):
        agreed(MASK).save_overlay(None)


def test_the_command_line_says_a_line_for_each_model(shipped, bright, tmp_path, capsys):
    Image.fromarray(bright).save(tmp_path / "bright.png")
    assert cli.main(["analyze", str(tmp_path / "bright.png"), "--model", "all", "--save", str(tmp_path)]) == 1
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(line[0], line[3]) for line in lines] == [("manipulated", "easy"), ("no_evidence", "strict")]
    assert len(list(tmp_path.glob("*.overlay.png"))) == 1
    assert cli.main(["analyze", str(tmp_path / "bright.png"), "--model", "all", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["votes"]["manipulated"] == 1
    (shipped / "easy" / "rest.onnx").write_bytes(b"damaged")
    assert cli.main(["analyze", str(tmp_path / "bright.png"), "--model", "all"]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == f"failed\t-\t{tmp_path / 'bright.png'}\teasy"
    assert "easy is damaged" in said.err


def test_what_a_model_refuses_is_said_in_the_words_of_the_options(bright, tmp_path, monkeypatch, capsys):
    failed = agreed(MASK, None, failures={"other": sdk.RunFailed("no memory", remedy="try a smaller working_size")})
    Image.fromarray(bright).save(tmp_path / "bright.png")
    models = SimpleNamespace(analyze=lambda *_, **__: failed)
    monkeypatch.setattr(cli, "loaded_all", lambda _: contextlib.nullcontext(models))
    assert cli.main(["analyze", str(tmp_path / "bright.png"), "--model", "all"]) == 2
    assert "other: no memory\n  -> try a smaller --working-size" in capsys.readouterr().err


def test_the_list_of_models_names_all(shipped, capsys):
    assert cli.main(["models"]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["easy", "strict"]
