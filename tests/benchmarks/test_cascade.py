"""Rows of a cascade's benchmark: what was asked, what it took, and that the widest band is the ensemble."""

from __future__ import annotations

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import sdk
from benchmarks import cascade
from tests.sdk import toy_ensemble
from training.evaluation.tally import Record


@pytest.fixture
def data(tmp_path, rng):
    folder = tmp_path / "set"
    for part in ("images", "masks", "authentic"):
        (folder / part).mkdir(parents=True)
    white = np.zeros((72, 90), np.uint8)
    white[:, :30] = 255
    for index in range(4):
        for part in ("images", "authentic"):
            cv2.imwrite(str(folder / part / f"{index}.png"), rng.integers(0, 60 * index + 60, (72, 90, 3), np.uint8))
        cv2.imwrite(str(folder / "masks" / f"{index}.png"), white)
    return folder


def test_what_is_written_tells_cost_and_accuracy_by_band(data, tmp_path, capsys):
    path = toy_ensemble.build(tmp_path / "artifacts", toy_ensemble.cascade((0.3, 0.4)))
    options = ["--artifact", str(path), "--data", str(data), "--results", str(tmp_path), "--threads", "1"]
    assert cascade.main(options) == 0
    result = json.loads((tmp_path / "cascade-both-cpu.json").read_text(encoding="utf-8"))
    assert [row["band"] for row in result["rows"]][-1] == [0.3, 0.4]
    assert result["rows"][-1]["own"]
    shares = [row["asked"]["second"] for row in result["rows"][:-1]]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    times = [row["mean_ms"] for row in result["rows"][:-1]]
    assert times == sorted(times)
    assert times[-1] == result["rows"][0]["mean_ms_of_all"]
    everything = result["rows"][-2]["less_all"]
    assert [everything[name]["difference"] for name in ("image_auc", "pixel_auc")] == [0, 0]
    assert {"commit", "cpu"} <= set(result["provenance"])
    assert "<- the artifact's" in capsys.readouterr().out


def test_the_widest_band_answers_as_the_ensemble_does(data, tmp_path):
    path = toy_ensemble.build(tmp_path, toy_ensemble.cascade((0.0, 1.0)))
    with sdk.load(path, threads=1) as analyzer:
        (image, *_) = cascade.seen(analyzer, cascade.items.read(data)[:1])
        found = analyzer.analyze(cascade.items.read(data)[0].load()[0])
    assert image.scores[-1] == found.score
    assert len(image.ms) == 2
    assert 0 < image.ms[0] < image.ms[1]


def test_the_time_of_a_row_is_that_of_what_was_asked():
    records = [Record("a", "set", label, score, {}, float("nan")) for label, score in ((True, 0.9), (False, 0.45))]
    images = [
        cascade.Seen((record, Record("a", "set", record.label, 0.1, {}, 0.0)), np.array([10.0, 110.0]))
        for record in records
    ]
    stages = toy_ensemble.cascade((0.0, 1.0))
    analyzer = SimpleNamespace(terms=SimpleNamespace(stages=stages), analyzers={"first": None, "second": None})
    row = cascade._row(analyzer, images, (0.4, 0.6))
    assert row["asked"] == {"first": 1.0, "second": 0.5}
    assert row["mean_ms"] == 60.0
    assert row["image_auc"]["value"] == 1.0


def test_a_single_model_is_no_cascade(data, tmp_path, capsys):
    toy_ensemble.build(tmp_path)
    for name in ("first", "both"):
        assert cascade.main(["--artifact", str(tmp_path / name), "--data", str(data)]) == 2
        assert "is no cascade" in capsys.readouterr().err
    assert cascade.main(["--artifact", str(toy_ensemble.build(tmp_path, toy_ensemble.cascade((0.0, 1.0))))]) == 2
    assert "nothing to measure on" in capsys.readouterr().err
