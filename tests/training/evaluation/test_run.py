"""The whole evaluation on predictors whose figures are known: tables, pairs, curves, sizes, pages, logs, commands."""

from __future__ import annotations

import base64
import itertools
import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from training import checkpoints, models
from training.card import Card
from training.commands import main
from training.evaluation import pages, plots, report, run
from training.evaluation.items import Item, read
from training.evaluation.predictors import Answer, Checkpoint
from training.evaluation.protocols import IMDL as FULL
from training.evaluation.protocols import PROTOCOLS
from training.evaluation.tally import Record

IMDL = replace(FULL, rounds=40)


@pytest.fixture(scope="module", autouse=True)
def few_rounds():
    with pytest.MonkeyPatch.context() as patch:
        for name, rules in PROTOCOLS.items():
            patch.setitem(PROTOCOLS, name, replace(rules, rounds=40))
        for name in ("CURVES", "ATTACKED"):
            patch.setattr(run, name, replace(getattr(run, name), rounds=40))
        yield


@pytest.fixture(scope="module")
def result(data, oracle, chance):
    items = read(data)
    task = run.Task(
        predictors=[oracle, chance], items=items, protocols=[IMDL, PROTOCOLS["gsrnet"]], robustness=True, large=items
    )
    return run.evaluate(task)[0] | {"data": report.listing(data)}


def test_sets_stay_apart_and_the_oracle_is_right(result):
    assert json.loads(json.dumps(report.finite(result)))["kind"] == "accuracy"
    assert list(result["figures"]["imdl"]) == ["one", "two"]
    for predictors in result["figures"]["imdl"].values():
        for name in ("pixel_auc", "pixel_f1_fixed", "image_auc", "image_flagged_manipulated_at_5"):
            assert predictors["oracle"][name]["value"] == 1
        assert predictors["oracle"]["image_flagged_authentic_at_5"]["value"] == 0
        assert predictors["chance"]["pixel_auc"]["value"] == pytest.approx(0.5, abs=0.05)
        assert (predictors["oracle"]["pixel_auc"]["images"], predictors["oracle"]["image_auc"]["images"]) == (3, 6)


def test_every_figure_has_its_protocol_interval_and_provenance(result):
    assert set(result["protocols"]) == set(result["figures"])
    assert all(rules["in_words"] and rules["source"] for rules in result["protocols"].values())
    assert result["provenance"]["commit"]
    for figure in result["figures"]["imdl"]["one"]["oracle"].values():
        assert set(figure) == {"value", "low", "high", "images"}
    table = report.terminal(result)
    assert "inversion none" in table
    assert re.search(r"pixel_auc +3 +1\.000 \[1\.000, 1\.000\] +0\.\d{3} \[", table)


def test_the_model_is_tested_in_pairs_against_the_others(result):
    told = result["paired"]["imdl"]["one"]["pixel_auc"]["chance"]
    assert told["difference"] == pytest.approx(0.5, abs=0.05)
    assert told["low"] > 0.3
    assert "oracle" not in result["paired"]["imdl"]["one"]["pixel_auc"]


def test_robustness_has_every_distortion_and_becomes_curves(result, tmp_path):
    names = [row["name"] for row in result["robustness"]["rows"]["one"]]
    assert names[0] == "none"
    assert {"resize 0.78", "resize 0.25", "blur 15", "noise 3", "jpeg 50", "jpeg 70", "mixed"} < set(names)
    figures = {f"pixel_{measure}_best_{scope}" for measure in ("f1", "mcc") for scope in ("set", "image")}
    assert all(figures | {"pixel_auc", "image_auc"} <= row.keys() for row in result["robustness"]["rows"]["two"])
    intact, known = result["robustness"]["rows"]["one"][0], result["figures"]["imdl"]["one"]["oracle"]
    assert all(intact[name]["value"] == known[name]["value"] for name in figures)
    files = plots.write(tmp_path, result["robustness"])
    assert [file.name for file in files] == ["robustness-one.png", "robustness-two.png"]
    assert cv2.imread(str(files[0])).std() > 5


def test_sizes_and_areas_are_told_apart(result):
    rows = result["large"]["rows"]["one"]
    assert [row["working_size"] for row in rows] == list(run.SIZES)
    assert set(rows[0]["pixel_auc_by_area"]) == {"0.2 to 1"}
    assert rows[0]["pixel_auc_by_area"]["0.2 to 1"]["images"] == 3
    assert all(low < high for low, high in itertools.pairwise(run.BANDS))


def test_a_page_holds_its_pictures_and_chooses_them_by_figure(data, oracle, tmp_path):
    items = read(data)
    records = run.evaluate(run.Task(predictors=[oracle], items=items, protocols=[IMDL]))[1]["imdl"]
    pages.write(tmp_path / "page.html", oracle, items, {IMDL: records})
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "http" not in text
    coded = re.findall(r"base64,([^\"]+)", text)
    pictures = [cv2.imdecode(np.frombuffer(base64.b64decode(c), np.uint8), cv2.IMREAD_COLOR) for c in coded]
    assert len(pictures) == 3 * 2 * 6  # frame, truth, heatmap of every image of both sets
    assert pictures[1][10, 5].min() > 200  # the truth's left third
    assert pictures[1][10, 60].max() < 50


def test_best_median_and_worst_are_disjoint_and_in_order():
    made = [
        Record(str(n), "set", True, score=0.5, flags={}, area=0.1, values={"auc": n / 20}) for n in range(20)
    ]  # fmt: skip
    chosen = {heading: [record.name for record in mine] for heading, mine in pages.choice(made).items()}
    assert chosen == {"Best": ["19", "18", "17"], "Median": ["11", "10", "9"], "Worst": ["2", "1", "0"]}


@pytest.fixture
def weights(tmp_path):
    checkpoints.save(tmp_path / "small.pt", "psccnet-lite", models.create("psccnet-lite", grid=32))
    return tmp_path / "small.pt"


def test_the_verb_logs_the_run_and_enters_it_into_the_card(weights, data, tmp_path, capsys):
    Card(working_size=48, thresholds={"48": {"photographs": {"0.01": 0.9, "0.05": 0.1}}}).write(tmp_path / "card.json")
    out, log = tmp_path / "out", tmp_path / "runs.jsonl"
    options = ["--checkpoint", str(weights), "--card", str(tmp_path / "card.json"), "--data", str(data)]
    command = ["evaluate", *options, "--baseline", "centre", "--out", str(out), "--log", str(log), "--threads", "1"]
    for _ in range(2):
        assert main(command) == 0
    assert "pixel_auc_pooled" in capsys.readouterr().out
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(entries) == 2
    runs = Card.read(tmp_path / "card.json").figures["runs"]
    assert runs[0]["value_low_high_images"] == runs[1]["value_low_high_images"] == entries[0]["value_low_high_images"]
    assert entries[0]["sha256"] == Checkpoint(weights).identity["sha256"]
    assert entries[0]["working_size"] == 48
    assert len(entries[0]["data"]["sha256"]) == 64
    assert set(entries[0]["value_low_high_images"]["imdl"]) == {"one", "two"}
    assert {path.name for path in out.iterdir()} == {"result.json", "pictures.html"}
    result = json.loads((out / "result.json").read_text())
    assert result["figures"]["imdl"]["one"]["small"]["image_flagged_manipulated_at_5"]["value"] == 1


def test_baselines_alone_on_synthetic_samples(photographs, tmp_path, capsys):
    options = [
        "--photographs",
        str(photographs),
        "--count",
        "4",
        "--size",
        "64",
        "--protocol",
        "psccnet",
        "--without-video",
    ]
    assert main(["evaluate", *options, "--baseline", "noise", "--out", str(tmp_path)]) == 0
    assert "psccnet: native size" in capsys.readouterr().out
    told = json.loads((tmp_path / "result.json").read_text())["data"]
    assert (told["folder"], told["size"], told["video"]) == ("synthetic", 64, False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--baseline", "random"], "nothing to evaluate on\n  -> give --data"),
        (["--photographs", "here"], "nothing to evaluate\n  -> give --checkpoint"),
        (["--data", "nowhere", "--baseline", "random"], "nowhere holds neither SOURCES.csv"),
    ],
)
def test_refusals(options, words, tmp_path, capsys):
    assert main(["evaluate", *options, "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


def test_only_the_first_images_for_a_trial_and_nothing_twice(data, tmp_path):
    twice = ["--baseline", "centre", "--protocol", "gsrnet"] * 2
    assert main(["evaluate", "--data", str(data), *twice, "--limit", "4", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["images"] == 4
    assert result["figures"]["gsrnet"]["one"]["centre"]["pixel_f1_best_set"]["images"] == 2


def test_two_predictors_of_one_name_are_refused(oracle):
    with pytest.raises(ValueError, match="two predictors are called oracle\n  -> leave one out"):
        run.Task(predictors=[oracle, oracle], items=[])


def test_predictors_are_asked_for_the_working_size_of_the_protocol():
    asked = []

    class Watched:
        name, mask_threshold, score_thresholds = "watched", 0.5, {}

        def predict(self, frame, *, working_size=None):
            asked.append(working_size)
            return Answer(np.zeros(frame.shape[:2], np.float32))

    item = Item("grey", lambda: (np.zeros((8, 8, 3), np.uint8), np.eye(8, dtype=np.bool_)), label=True)
    run.by_size(Watched(), [item])
    assert asked == list(run.SIZES)


def test_no_histogram_outlives_its_protocol(data, oracle):
    kept = run.evaluate(run.Task(predictors=[oracle], items=read(data), protocols=[IMDL]))[1]["imdl"]
    assert len(kept) == 12
    assert all(record.positives is None and record.negatives is None for record in kept)
