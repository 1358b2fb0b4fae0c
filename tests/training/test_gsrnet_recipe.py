"""GSR-Net's three networks in turn: what each is shown, that a run goes on where it stood, and its forger."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training import checkpoints, models
from training.data import Photographs, Samples
from training.fit import FitSettings
from training.forgers import GSRNET, MAG, Forger
from training.gsrnet_losses import Weights
from training.nn.retoucher import Retoucher
from training.nn.unet import UNet
from training.recipes import gsrnet, mag, psccnet
from training.recipes.gsrnet import ABLATIONS, Rivals, Triples
from training.recipes.psccnet import Recipe, Stage

SIDE = 32


@pytest.fixture(autouse=True)
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator of few levels, and a short contact sheet."""
    monkeypatch.setattr(gsrnet, "LEVELS", 3)
    monkeypatch.setattr(gsrnet, "SHOWN", 2)


def fitted(
    photographs: Path, folder: Path, *, ablation: str = "gsr-net", weights: Path | None = None,
    forgers: tuple[Path, ...] = (), **options: object,
) -> dict[str, object]:  # fmt: skip
    stages = (Stage(until=1.0, size=SIDE, batch=2),)
    recipe = Recipe(
        photographs=photographs, stages=stages, validation_samples=0, video=False, weights=weights, forgers=forgers
    )
    settings = FitSettings(steps=4, warmup_steps=1, workers=0, report_steps=2, bf16=False)
    gsrnet.fit("gsrnet-lite", folder, recipe, settings, ablation=ablation, **{"width": 4, "dropout": 0.5, **options})
    return checkpoints.read(folder / "checkpoint.pt")


def test_all_three_networks_resume_exactly(
    photographs: Path, tmp_path: Path, interrupted: Callable[[float], AbstractContextManager[None]]
) -> None:
    whole = fitted(photographs, tmp_path / "whole")
    with interrupted(0.5):
        fitted(photographs, tmp_path / "parts")
    parts = fitted(photographs, tmp_path / "parts")
    assert set(whole["partners"]) == {"discriminator", "generator"}
    pairs = [
        (run["state"], *(run["partners"][name]["state"] for name in sorted(run["partners"]))) for run in (whole, parts)
    ]
    for a, b in zip(*pairs, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)
    figures = json.loads((tmp_path / "whole" / "log.jsonl").read_text().splitlines()[0])
    assert {"discrimination", "background", "laplacian", "edge", "deceit", "localisation", "boundary"} <= figures.keys()
    sheet = cv2.imread(str(tmp_path / "parts" / "generated.png"))
    assert sheet.shape[1] == SIDE * (2 + len(list((tmp_path / "parts" / "generated").iterdir())))
    assert checkpoints.load(tmp_path / "whole" / "ema.pt").net.config.width == 4
    told = json.loads((tmp_path / "whole" / "settings.json").read_text())
    assert told["architecture"]["width"] == 4
    assert told["choices"] == {
        "seed": 1, "ramp": 0, "video": False, "weights": None, "shards": "none", "forgers": [], "ablation": "gsr-net",
        "stages of 4 steps": [{"until": 1.0, "size": SIDE, "batch": 2, "grid": 0, "correlation": True}],
        "background": 1.0, "laplacian": 1.0, "edge": 2.0, "deceit": 5.0, "outline": 1.0, "score": 0.0,
    }  # fmt: skip
    for other, words in (
        ({"width": 6}, "began with width=4, not 6"),
        ({"ablation": "gs-net"}, "began with ablation=gsr-net, not gs-net"),
        ({"deceit": 1}, "began with deceit=5.0, not 1\n  -> go on as it began"),
    ):
        with pytest.raises(ValueError, match=words):
            fitted(photographs, tmp_path / "whole", **other)
    with pytest.raises(ValueError, match=r"ema.pt was trained with boundary=True, not False\n  -> ask for the same"):
        fitted(photographs, tmp_path / "new", ablation="dl", weights=tmp_path / "whole" / "ema.pt")
    fitted(photographs, tmp_path / "new", weights=tmp_path / "whole" / "ema.pt")


def test_a_run_from_weights_learns_the_first_convolution_to_its_end(
    photographs: Path, tmp_path: Path, interrupted: Callable[[float], AbstractContextManager[None]]
) -> None:
    fitted(photographs, tmp_path)
    start = tmp_path / "ema.pt"
    whole = fitted(photographs, tmp_path / "whole", weights=start)
    with interrupted(0.5):
        fitted(photographs, tmp_path / "parts", weights=start)
    parts = fitted(photographs, tmp_path / "parts")  # the checkpoint decides
    assert all(torch.equal(whole["state"][key], parts["state"][key]) for key in whole["state"])


@pytest.mark.parametrize(
    ("ablation", "passes"),
    {"dl": [2], "dl+b": [2], "dl+cp": [4], "dl+g": [4], "dl+cp+g": [6], "gs-net": [6], "gsr-net": [6, 2]}.items(),
)
def test_ablations_are_shown_what_the_table_says(
    ablation: str, passes: list[int], photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ABLATIONS[ablation]
    detector = models.create("gsrnet", width=2, boundary=row.boundary)
    rivals, seen = Rivals(detector.net, row, Weights()), []
    predict = detector.net.predictions
    monkeypatch.setattr(detector.net, "predictions", lambda x: seen.append(len(x)) or predict(x))
    triples = Triples(
        Photographs(photographs, "train"), Recipe(photographs=photographs, video=False), seed=1, size=SIDE
    )
    batch = [torch.stack(parts) for parts in zip(*(triples[index] for index in range(2)), strict=True)]
    for partner in rivals.partners().values():
        partner.loss(*batch)
    terms = rivals.segment(detector, *batch)
    assert seen == passes
    assert ("boundary" in terms) == row.boundary
    assert bool(rivals.partners()) == row.generated


def test_turns_see_what_the_one_before_has_made(photographs: Path) -> None:
    """The generator is judged on what the discriminator has seen, and the segmenter's gradient does not reach it."""
    detector = models.create("gsrnet", width=2, dropout=0.0)
    rivals = Rivals(detector.net, ABLATIONS["gsr-net"], Weights(outline=0.5))
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    mask[:, 8:20, 8:20] = True
    frames = torch.randint(0, 256, (2, 1, SIDE, SIDE, 3), dtype=torch.uint8)
    batch = (frames[0], mask, frames[1])
    sum(rivals.judge(*batch).values()).backward()
    assert all(weight.grad is None for weight in rivals.generator.parameters())
    made = rivals.made
    sum(rivals.generate(*batch).values()).backward()
    assert rivals.made is made
    grown = [weight.grad.clone() for weight in rivals.generator.parameters()]
    assert all(float(part.abs().max()) > 0 for part in grown[:-1])
    terms = rivals.segment(detector, *batch)
    rivals.weights = Weights(outline=1.0)
    torch.testing.assert_close(2 * terms["boundary"], rivals.segment(detector, *batch)["boundary"])
    sum(terms.values()).backward()
    assert all(
        torch.equal(weight.grad, part) for weight, part in zip(rivals.generator.parameters(), grown, strict=True)
    )


def test_a_score_is_learned_from_the_mean_odds() -> None:
    torch.manual_seed(0)
    detector = models.create("gsrnet", width=2, dropout=0.0)
    rivals = Rivals(detector.net, ABLATIONS["dl+b"], Weights(score=0.5))
    mask = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    mask[0, 8:20, 8:20] = True  # the second frame is authentic
    frames = torch.randint(0, 256, (2, 2, SIDE, SIDE, 3), dtype=torch.uint8)
    terms = rivals.segment(detector, frames[0], mask, frames[1])
    odds = torch.exp(detector.net.predictions(frames[0].permute(0, 3, 1, 2) / 255)[0].double()).mean((1, 2, 3))
    expected = 0.5 * (torch.log1p(1 / odds[0]) + torch.log1p(odds[1])) / 2
    torch.testing.assert_close(terms["score"].double(), expected, atol=1e-5, rtol=0)
    terms["score"].backward()
    assert detector.net.final.weight.grad.abs().max() > 0


@pytest.mark.parametrize("width", [4, 16, 64])
def test_the_first_convolution_starts_and_stays_as_second_differences(width: int) -> None:
    detector = models.create("gsrnet", width=width)
    weight = detector.net.deeplab.blocks[0][0].weight
    gsrnet.start(weight)
    half = width * 3 // 8
    assert weight[: 2 * half].sum((2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(weight[half : 2 * half], -weight[:half])
    assert torch.equal(weight[: min(half, 6), 0], weight[: min(half, 6), 2])  # grey ones first
    assert not weight.requires_grad


def test_an_unknown_ablation_is_refused(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no ablation of gsrnet named 'gsnet'\n  -> did you mean 'gs-net'"):
        fitted(photographs, tmp_path, ablation="gsnet")


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    net = UNet(width=2, levels=3)
    torch.save({"model": GSRNET, "settings": net.settings, "state": net.state_dict()}, tmp_path / "generator.pt")
    return tmp_path / "generator.pt"


def test_a_forger_changes_what_is_under_the_mask_alone(generator: Path, photographs: Path) -> None:
    source, forger = Photographs(photographs, "train"), Forger(generator, share=1.0)
    how = {"seed": 4, "size": SIDE, "hardness": 0.0, "video": False}
    rng = np.random.default_rng(0)
    changed = 0
    for index in range(8):
        sample = Samples(source, **how).sample(index)
        finished = forger(sample, rng)
        np.testing.assert_array_equal(finished.frame[~sample.mask], sample.frame[~sample.mask])
        assert finished.mask is sample.mask
        assert finished.recipe["forger"] == GSRNET
        changed += bool((finished.frame != sample.frame).any())
    assert changed >= 4


def test_a_forger_is_part_of_the_synthesis_and_travels_to_workers(generator: Path, photographs: Path) -> None:
    samples = Samples(Photographs(photographs, "train"), seed=4, size=SIDE, video=False, finish=Forger(generator))
    made = [samples.sample(index) for index in range(12)]
    forged = [sample for sample in made if "forger" in sample.recipe]
    assert 0 < len(forged) < sum(sample.label for sample in made)
    again = pickle.loads(pickle.dumps(samples))
    for index in (0, 11):
        np.testing.assert_array_equal(again.sample(index).frame, made[index].frame)


def test_several_forgers_share_the_work_and_every_recipe_takes_them(
    generator: Path, photographs: Path, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    net = Retoucher(widths=(2, 4))
    torch.save({"model": MAG, "settings": net.settings, "state": net.state_dict()}, tmp_path / "retoucher.pt")
    both = (generator, tmp_path / "retoucher.pt")
    how = {"seed": 4, "size": SIDE, "video": False, "kinds": ("splice",)}
    samples = Samples(Photographs(photographs, "train"), finish=Forger(*both, share=1.0), **how)
    assert {samples.sample(index).recipe["forger"] for index in range(12)} == {GSRNET, MAG}
    assert Forger.of(()) is None
    recipe = Recipe(photographs=photographs, video=False, forgers=both)
    how = {"seed": 1, "size": SIDE}
    held_out = Photographs(photographs, "validation")
    made = [
        psccnet.sequence(recipe, held_out)(SIDE),
        mag.pairs(Photographs(photographs, "train"), recipe, size=SIDE, classes=None).manipulated,
    ]
    for sequence in made:
        assert {sequence.sample(index).recipe.get("forger") for index in range(24)} == {None, GSRNET, MAG}
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gsrnet, "Triples", lambda *_, **how: seen.append(how.get("finish")) or Triples(*_, **how))
        fitted(photographs, tmp_path / "run", forgers=both)
    assert seen[0].files == both


def test_forgers_of_shards_have_done_their_work(generator: Path, photographs: Path, tmp_path: Path) -> None:
    recipe = Recipe(photographs=photographs, video=False, shards=tmp_path, forgers=(generator,))
    with pytest.raises(ValueError, match="samples of shards are finished\n  -> give synthesize the forgers"):
        psccnet.sequence(recipe, Photographs(photographs, "validation"))


def test_a_file_of_no_forger_is_refused(tmp_path: Path) -> None:
    torch.save({"model": "psccnet", "settings": {}, "state": {}}, tmp_path / "ema.pt")
    with pytest.raises(ValueError, match="no forger named 'psccnet'\n  -> "):
        Forger(tmp_path / "ema.pt")
