"""What a run of any recipe is held to: forgers, shards, ramp, stages, start weights; files by what is in them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from training import checkpoints
from training.data import Photographs, Samples
from training.fit import Fit, FitSettings
from training.forgers import GSRNET
from training.models import create
from training.nn.unet import UNet
from training.nn.vgg import BODIES
from training.recipes.psccnet import Recipe, Stage
from training.synthesis.shards import write_folder

SIDE = 32
SETTINGS = FitSettings(steps=4, workers=0)
OPTIONS = {
    "gsrnet-lite": {"width": 4},
    "mag-lite": {"width": 4, "widest": 8, "depth": 4},
    "mantranet": {"body": "narrow"},
    "mantranet-imc": {"body": "narrow"},
    "psccnet-lite": {},
}
"""Each recipe's smallest model."""


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that only save."""
    monkeypatch.setattr(Fit, "run", lambda fit, *_, **__: fit.save())
    monkeypatch.setitem(BODIES, "narrow", (8,) * 11)


@pytest.fixture
def recipe(photographs: Path) -> Recipe:
    return Recipe(
        photographs=photographs, video=False, validation_samples=0, stages=(Stage(until=1.0, size=SIDE, batch=2),)
    )


@pytest.fixture
def forger(tmp_path: Path) -> Path:
    net = UNet(width=2, levels=3)
    torch.save({"model": GSRNET, "settings": net.settings, "state": net.state_dict()}, tmp_path / "generator.pt")
    return tmp_path / "generator.pt"


def fit(name: str, folder: Path, recipe: Recipe, settings: FitSettings = SETTINGS) -> None:
    module = import_module(f"training.recipes.{name.partition('-')[0]}")
    module.fit(name, folder, recipe, settings, **OPTIONS[name])


@pytest.mark.parametrize("name", OPTIONS)
def test_a_run_goes_on_with_the_ramp_and_the_stages_of_its_budget(name: str, recipe: Recipe, tmp_path: Path) -> None:
    fit(name, tmp_path, recipe)
    fit(name, tmp_path, recipe)
    with pytest.raises(ValueError, match="began with ramp=0, not 8\n  -> go on as it began"):
        fit(name, tmp_path, replace(recipe, ramp=8))
    larger = replace(recipe, stages=(Stage(until=1.0, size=2 * SIDE, batch=2),))
    with pytest.raises(ValueError, match=r"began with stages of 4 steps=\[.*'size': 32.*, not \[.*'size': 64"):
        fit(name, tmp_path, larger)
    fit(name, tmp_path, larger, replace(SETTINGS, steps=8))
    with pytest.raises(ValueError, match="began with stages of 8 steps="):
        fit(name, tmp_path, recipe, replace(SETTINGS, steps=8))


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - {"mantranet-imc"}))
def test_forgers_are_told_and_kept(name: str, recipe: Recipe, forger: Path, tmp_path: Path) -> None:
    finished = replace(recipe, forgers=(forger,))
    fit(name, tmp_path / "run", finished)
    told = json.loads((tmp_path / "run" / "settings.json").read_text())["choices"]
    assert told["forgers"] == [hashlib.sha256(forger.read_bytes()).hexdigest()]
    with pytest.raises(ValueError, match=rf"began with forgers=\['{told['forgers'][0]}'\], not \[\]\n"):
        fit(name, tmp_path / "run", recipe)
    moved = forger.rename(tmp_path / "moved.pt")
    fit(name, tmp_path / "run", replace(recipe, forgers=(moved,)))


@pytest.mark.parametrize("name", ["psccnet-lite", "mantranet"])
def test_shards_are_kept_wherever_they_lie(name: str, recipe: Recipe, tmp_path: Path) -> None:
    for seed, folder in ((1, "one"), (2, "other")):
        (tmp_path / folder).mkdir()
        samples = Samples(Photographs(recipe.photographs, "train"), seed=seed, size=SIDE, video=False)
        write_folder(tmp_path / folder, samples.sample, count=8 * seed, shards=1)
    written = replace(recipe, shards=tmp_path / "one")
    fit(name, tmp_path / "run", written)
    with pytest.raises(ValueError, match=r"began with shards=[0-9a-f]{64}, not none\n"):
        fit(name, tmp_path / "run", recipe)
    with pytest.raises(ValueError, match=r"began with shards=[0-9a-f]{64}, not [0-9a-f]{64}\n"):
        fit(name, tmp_path / "run", replace(recipe, shards=tmp_path / "other"))
    fit(name, tmp_path / "run", replace(recipe, shards=(tmp_path / "one").rename(tmp_path / "moved")))


def test_start_weights_are_kept_and_may_be_gone(recipe: Recipe, tmp_path: Path) -> None:
    digests = {}
    for seed in (1, 2):
        torch.manual_seed(seed)
        file = tmp_path / f"{seed}.pt"
        checkpoints.save(file, "mantranet", create("mantranet", body="narrow"))
        digests[seed] = hashlib.sha256(file.read_bytes()).hexdigest()
    started = replace(recipe, weights=tmp_path / "1.pt")
    fit("mantranet", tmp_path / "run", started)
    (tmp_path / "1.pt").unlink()
    for _ in range(2):
        fit("mantranet", tmp_path / "run", recipe)
    other = replace(recipe, weights=tmp_path / "2.pt")
    with pytest.raises(ValueError, match=f"began with weights={digests[1]}, not {digests[2]}\n"):
        fit("mantranet", tmp_path / "run", other)
    fit("mantranet", tmp_path / "fresh", recipe)
    with pytest.raises(ValueError, match=f"began with weights=None, not {digests[2]}\n"):
        fit("mantranet", tmp_path / "fresh", other)


def test_a_checkpoint_that_tells_of_the_seed_alone_goes_on(recipe: Recipe, forger: Path, tmp_path: Path) -> None:
    fit("mantranet", tmp_path / "run", recipe)
    file = tmp_path / "run" / "checkpoint.pt"
    torch.save({**checkpoints.read(file), "choices": {"seed": 1}}, file)
    fit("mantranet", tmp_path / "run", replace(recipe, ramp=8, forgers=(forger,)))
    assert checkpoints.read(file)["choices"]["ramp"] == 8
