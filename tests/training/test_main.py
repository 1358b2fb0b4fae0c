"""The command line: what it writes, and how it refuses."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from training import recipes
from training.commands import LEAST_SIDE, main, stage
from training.data import Photographs, Samples, ShardSamples
from training.recipes import mag, psccnet
from training.recipes.psccnet import Stage


def test_synthesize_writes_frames_masks_and_recipes(photographs, tmp_path):
    options = ["--photographs", str(photographs), "--out", str(tmp_path), "--size", "48", "--count", "5"]
    assert main(["synthesize", *options]) == 0
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(5))
    for row in rows:
        mask = cv2.imread(str(tmp_path / f"{row['index']:06d}_mask.png"), cv2.IMREAD_GRAYSCALE)
        assert set(np.unique(mask)) <= {0, 255}
        assert bool(mask.any()) == bool(row["label"])


def test_preview_is_one_picture(photographs, tmp_path):
    options = ["--photographs", str(photographs), "--out", str(tmp_path), "--size", "48", "--count", "5", "--preview"]
    assert main(["synthesize", *options]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["preview.png"]
    assert cv2.imread(str(tmp_path / "preview.png")).shape == (2 * 48, 12 * 48, 3)


def test_a_stage_is_written_with_colons():
    assert stage("0.7:128:16:64") == Stage(until=0.7, size=128, batch=16, grid=64)
    assert stage("1:256:6") == Stage(until=1.0, size=256, batch=6)
    assert stage("0.5:128:16:silent") == Stage(until=0.5, size=128, batch=16, correlation=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "0"], "argument --size: 0 is no whole number from 16 on"),
        (["--threads", "0"], "argument --threads: 0 is no whole number from 1 on"),
        (["--size", "31"], "samples of 31 px are too small for psccnet\n  -> give 32 px or more"),
        (["--batch", "0"], "a stage of batch 0\n  -> give 1 or more"),
        (["--stage", "1:0:4"], "a stage of size 0\n  -> give 1 or more"),
        (["--stage", "1:64:-1"], "a stage of batch -1\n  -> give 1 or more"),
        (["--stage", "1:64:4:-8"], "a stage of grid -8\n  -> give 0 or more"),
        (["--stage", "1.5:64:4"], "a stage until 1.5 of the budget\n  -> give a share above 0, up to 1"),
        (["--stage", "nan:64:4"], "a stage until nan of the budget"),
        (["--stage", "0.5:64"], "'0.5:64' is no UNTIL:SIZE:BATCH[:GRID][:silent]"),
        (["--stage", "0.5:64:4:loud"], "'0.5:64:4:loud' is no UNTIL:SIZE:BATCH[:GRID][:silent]"),
        (["--stage", "0.5:64:4", "--stage", "0.5:96:4"], "stages that end at 0.5, 0.5 of the budget\n  -> let each"),
        (["--stage", "1:64:4", "--stage", "0.5:96:4"], "stages that end at 1, 0.5 of the budget\n  -> let each end"),
        (["--minutes", "-5"], "minutes is -5.0\n  -> give 0 or more"),
        (["--minutes", "nan", "--steps", "1"], "minutes is nan\n  -> give 0 or more"),
        (["--minutes", "inf"], "minutes is inf\n  -> give 0 or more"),
        (["--steps", "-1", "--minutes", "5"], "steps is -1\n  -> give 0 or more"),
        (["--steps", "9", "--rate", "0"], "rate is 0.0\n  -> give a number above 0"),
        (["--steps", "9", "--workers", "-1"], "workers is -1\n  -> give 0 or more"),
        (["--steps", "9", "--device", "gpu"], "no device is named 'gpu'\n  -> give cpu or cuda"),
        (["--steps", "9", "--weights", "no.pt"], "no.pt: No such file or directory\n  -> give another path"),
        (["--steps", "9", "--seed", "-1"], "seed is -1\n  -> give 0 or more"),
        ([], "steps=0 and minutes=0.0\n  -> give exactly one of them"),
    ],
    ids=" ".join,
)
def test_fit_refuses_what_makes_no_sense_before_anything_is_made(photographs, tmp_path, capsys, options, said):
    out = tmp_path / "run"
    command = ["fit", "psccnet-lite", "--photographs", str(photographs), "--out", str(out), *options]
    try:
        status = main(command)
    except SystemExit as refused:
        status = refused.code
    assert status == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("model", ["psccnet-lite", "gsrnet-lite", "mag-lite", "mantranet-lite"])
def test_fit_without_photographs_makes_no_folder(tmp_path, capsys, model):
    (tmp_path / "empty").mkdir()
    command = ["fit", model, "--photographs", str(tmp_path / "empty"), "--out", str(tmp_path / "run"), "--steps", "1"]
    assert main(command) == 2
    assert "no photograph in " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", ["1:64:4:32", "1:64:4:silent"])
def test_what_only_psccnet_has_is_refused_elsewhere(photographs, tmp_path, capsys, stage):
    command = ["fit", "mag-lite", "--photographs", str(photographs), "--out", str(tmp_path / "run"), "--steps", "1"]
    assert main([*command, "--stage", stage]) == 2
    assert "mag has no GRID and nothing to be silent\n  -> give stages as UNTIL:SIZE:BATCH" in capsys.readouterr().err


def test_every_recipe_says_how_small_its_samples_may_be():
    assert list(LEAST_SIDE) == recipes.names()


def test_shards_are_what_would_have_been_streamed(photographs, tmp_path):
    options = ["--photographs", str(photographs), "--out", str(tmp_path), "--size", "48", "--count", "5"]
    assert main(["synthesize", *options, "--shards", "2", "--workers", "2"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shard-00000.tar", "shard-00001.tar"]
    streamed, read = Samples(Photographs(photographs, "train"), seed=1, size=48), ShardSamples(tmp_path)
    assert len(read) == 5
    for index in range(5):
        for a, b in zip(streamed[index], read[index], strict=True):
            assert torch.equal(a, b)
        assert read.sample(index).recipe["kind"] == streamed.sample(index).recipe["kind"]
    assert torch.equal(read[7][0], read[2][0])


def test_fit_takes_shards_and_leaves_video_out(photographs, tmp_path, monkeypatch):
    recipes = []
    monkeypatch.setattr(psccnet, "fit", lambda name, out, recipe, settings: recipes.append(recipe))
    command = ["fit", "psccnet-lite", "--photographs", str(photographs), "--out", str(tmp_path), "--steps", "1"]
    assert main([*command, "--shards", str(tmp_path), "--without-video"]) == 0
    assert main([*command, "--forger", "generator.pt", "--forger", "retoucher.pt"]) == 0
    found = [(recipe.shards, recipe.video, [file.name for file in recipe.forgers]) for recipe in recipes]
    assert found == [(tmp_path, False, []), (None, True, ["generator.pt", "retoucher.pt"])]


def test_fit_hands_settings_and_ablations_on(photographs, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(mag, "fit", lambda name, out, recipe, settings, **options: given.append((name, options)))
    command = ["fit", "mag-lite", "--photographs", str(photographs), "--out", str(tmp_path), "--steps", "1"]
    assert main([*command, "--set", "width=32", "--set", "layout=paper", "--ablation", "no-retoucher"]) == 0
    assert given == [("mag-lite", {"width": 32, "layout": "paper", "ablation": "no-retoucher"})]
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--set", "width"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["psccnot"], "no model named 'psccnot'\n  -> did you mean 'psccnet'"),
        (["mantranet-imc", "--shards", "here"], "mantranet-imc learns from patches\n  -> leave them out"),
        (["mantranet-imc", "--forger", "here"], "mantranet-imc learns from patches\n  -> leave them out"),
        (["psccnet", "--ablation", "dl"], "psccnet has no ablations\n  -> leave --ablation out"),
        (["gsrnet", "--shards", "here"], "gsrnet makes samples of its own\n  -> leave --shards out"),
        (["gsrnet", "--set", "width=wide"], "width of gsrnet is 'wide'\n  -> give a value like 64"),
        (["gsrnet", "--set", "boundary=1"], "boundary of gsrnet is 1\n  -> give a value like True"),
        (["mag", "--set", "hiding=true"], "hiding of mag is True\n  -> give a value like 10.0"),
        (["mag", "--set", "hidden=1"], "no setting of mag named 'hidden'"),
    ],
)
def test_fit_refuses_what_it_would_not_do(options, words, tmp_path, capsys):
    assert main(["fit", *options, "--photographs", str(tmp_path), "--out", str(tmp_path), "--steps", "1"]) == 2
    assert words in capsys.readouterr().err


def test_a_refusal_says_what_to_do(tmp_path, capsys):
    assert main(["synthesize", "--photographs", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "-> give a folder with files" in capsys.readouterr().err


def test_a_verb_is_needed():
    with pytest.raises(SystemExit, match="2"):
        main([])
