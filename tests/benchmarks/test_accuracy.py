"""Accuracy of a toy artifact on a set made for it: what is committed says what is there."""

import csv
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import sdk
from benchmarks import accuracy, singles, table
from tests.sdk import toy, toy_ensemble
from training.evaluation import baselines, items, run
from training.evaluation.predictors import Answer
from training.evaluation.protocols import PROTOCOLS

ALL = ["--protocol", "imdl", "--protocol", "reencoded", "--baseline", "centre"]


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    for name, rules in PROTOCOLS.items():
        monkeypatch.setitem(PROTOCOLS, name, replace(rules, rounds=40))


@pytest.fixture
def data(tmp_path, rng):
    """Two sets in the layout of a real folder; the masks are the left third."""
    folder = tmp_path / "dev"
    rows = []
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        for index in range(6):
            file, mask = f"dev/{name}/{index}.jpg", f"dev/{name}/{index}.png" if index % 2 else ""
            cv2.imwrite(str(tmp_path / file), rng.integers(0, 256, (72, 90, 3), dtype=np.uint8))
            if mask:
                white = np.zeros((72, 90), np.uint8)
                white[:, :30] = 255
                cv2.imwrite(str(tmp_path / mask), white)
            role = "tampered" if mask else "authentic"
            rows.append({"file": file, "set": name, "role": role, "mask": mask, "mask_target": ""})
    with (folder / "SOURCES.csv").open("w", newline="") as listing:
        writer = csv.DictWriter(listing, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_sets_stay_apart_are_counted_and_fill_the_table(data, tmp_path):
    model = toy.build(tmp_path / "toy")
    options = ["--data", str(data), "--artifact", str(model), "--results", str(tmp_path / "results")]
    assert accuracy.main([*options, "--out", str(tmp_path / "out"), *ALL]) == 0
    result = json.loads((tmp_path / "results" / "accuracy-toy.json").read_text(encoding="utf-8"))
    assert [(row["set"], row["manipulated"], row["authentic"]) for row in result["rows"]] == [
        ("one", 3, 3),
        ("two", 3, 3),
    ]
    assert result["artifact"] == sdk.load(model).artifact.digest
    for row in result["rows"]:
        low, high = row["pixel_auc_interval"]
        assert 0 <= low <= row["pixel_auc"] <= high <= 1
        assert row["pixel_auc_centre"] < 0.5
        assert None not in row.values()
    assert "| two |" in table.accuracy(tmp_path / "results")
    log = (tmp_path / "results" / "accuracy-runs.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(log[0])["digest"] == result["artifact"]


def test_manipulated_images_without_a_mask_are_not_counted_as_authentic(data):
    with (data / "SOURCES.csv").open(newline="") as listing:
        rows = list(csv.DictReader(listing))
    next(row for row in rows if row["mask"])["mask"] = ""
    with (data / "SOURCES.csv").open("w", newline="") as listing:
        writer = csv.DictWriter(listing, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    knowing = SimpleNamespace(
        name="toy", mask_threshold=0.5, score_thresholds={"0.05": 0.5}, video_thresholds={}, identity={},
        predict=lambda frame, working_size=None: Answer(np.zeros(frame.shape[:2], np.float32), 0.5),
    )  # fmt: skip
    rules = [PROTOCOLS["imdl"], PROTOCOLS["reencoded"]]
    result, _ = run.evaluate(
        run.Task(predictors=[knowing, baselines.get("centre")], items=items.read(data), protocols=rules)
    )
    assert [(row["manipulated"], row["authentic"]) for row in accuracy.rows(result, "toy")] == [(3, 3), (3, 3)]


def test_an_artifact_answers_as_for_a_user(tmp_path, rng):
    shipped = accuracy.Shipped(str(toy.build(tmp_path / "toy")))
    frame = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    with sdk.load(tmp_path / "toy") as analyzer:
        expected = analyzer.analyze(frame)
    answer = shipped.predict(frame)
    np.testing.assert_array_equal(answer.heatmap, expected.heatmap)
    assert answer.score == expected.score
    assert shipped.predict(frame, working_size=0).heatmap.shape == (40, 60)
    shipped.close()


def test_a_trial_or_a_part_is_not_kept_as_a_result(data, tmp_path):
    model = toy.build(tmp_path / "toy")
    options = ["--data", str(data), "--artifact", str(model), "--results", str(tmp_path / "results")]
    assert accuracy.main([*options, "--out", str(tmp_path / "out"), "--limit", "4", *ALL]) == 0
    assert accuracy.main([*options, "--out", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "results" / "accuracy-toy.json").exists()
    assert len((tmp_path / "results" / "accuracy-runs.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_an_ensemble_stands_beside_its_models_and_the_best_of_them_is_compared(data, tmp_path):
    model = toy_ensemble.build(tmp_path / "artifacts")
    options = ["--data", str(data), "--artifact", str(model), "--results", str(tmp_path / "results")]
    assert accuracy.main([*options, "--out", str(tmp_path / "out"), *ALL]) == 0
    result = json.loads((tmp_path / "results" / "accuracy-both.json").read_text(encoding="utf-8"))
    assert list(result["predictors"]) == ["both", "first", "second", "centre"]
    assert result["predictors"]["both"]["asks"] == ["first", "second"]
    for group, figures in result["figures"]["imdl"].items():
        found = result["best_single"]["imdl"][group]["pixel_auc"]
        assert found["value"] == max(figures[name]["pixel_auc"]["value"] for name in ("first", "second"))
        assert found["difference"] == pytest.approx(figures["both"]["pixel_auc"]["value"] - found["value"], abs=1e-6)
        assert found["beats"] is (found["low"] > 0)


def test_an_ensemble_and_its_models_are_asked_about_an_image_once(tmp_path, rng, monkeypatch):
    model = toy_ensemble.build(tmp_path)
    asked = []
    plain = sdk.Analyzer._analyze
    monkeypatch.setattr(sdk.Analyzer, "_analyze", lambda self, *given: asked.append(self) or plain(self, *given))
    both = accuracy.Shipped(str(model))
    alone = [accuracy.Shipped(place, last=both.last) for place in singles.places(model)]
    frames = rng.integers(0, 256, (3, 70, 90, 3), dtype=np.uint8)
    for frame in frames:
        found, *single = [one.predict(frame) for one in (both, *alone)]
        assert found.score == toy_ensemble.SCORES.of_scores([one.score for one in single])
        expected = toy_ensemble.HEATMAPS.of_heatmaps([one.heatmap for one in single], frame.shape[:2])
        np.testing.assert_array_equal(found.heatmap, expected)
    assert len(asked) == 2 * len(frames)
    assert single[1].score != both.predict(frames[0]).score
    assert len(asked) == 2 * len(frames) + 2
    for one in (both, *alone):
        one.close()


def test_a_single_model_is_compared_with_what_is_named(data, tmp_path):
    toy_ensemble.build(tmp_path / "artifacts")
    options = ["--data", str(data), "--artifact", str(tmp_path / "artifacts" / "first"), "--limit", "4"]
    beside = ["--beside", str(tmp_path / "artifacts" / "second"), "--results", str(tmp_path / "results")]
    assert accuracy.main([*options, *beside, "--out", str(tmp_path / "out")]) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert list(result["predictors"]) == ["first", "second"]
    assert singles.best(result, "first")["imdl"]["one"]["pixel_auc"]["single"] == "second"


def test_artifacts_of_the_same_model_are_told_apart_by_their_folders(data, tmp_path):
    toy_ensemble.build(tmp_path / "artifacts")
    first = tmp_path / "artifacts" / "first"
    shutil.copytree(first, tmp_path / "longer")
    options = ["--data", str(data), "--artifact", str(first), "--beside", str(tmp_path / "longer"), "--limit", "2"]
    assert accuracy.main([*options, "--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")]) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert list(result["predictors"]) == ["first", "first (longer)"]
    assert result["paired"]["imdl"]["one"]["pixel_f1_best_image"]["first (longer)"]["difference"] == 0


def test_a_missing_artifact_is_refused(tmp_path, capsys):
    assert accuracy.main(["--artifact", "psccnet-lit", "--out", str(tmp_path)]) == 2
    assert "-> " in capsys.readouterr().err
