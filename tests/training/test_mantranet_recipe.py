"""Both steps of ManTra-Net's training: samples, losses, constraints, rates; and that a run goes on where it stood."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from training import checkpoints
from training.data import Photographs, Samples
from training.fit import FitSettings
from training.models import create
from training.models.mantranet import Config
from training.nn.pixels import unit_range
from training.nn.vgg import BODIES
from training.recipes import mantranet
from training.recipes.mantranet import Forgeries, Patches, ranked_accuracy, shorten_steps
from training.recipes.psccnet import Recipe, Stage
from training.synthesis.hierarchy import LEAVES
from training.synthesis.imc import UNTOUCHED, locally, patch
from training.synthesis.shards import write_folder

SIDE = 16


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> str:
    """A body of the usual depth and few channels."""
    monkeypatch.setitem(BODIES, "narrow", (8,) * 11)
    return "narrow"


@pytest.fixture(scope="module")
def source(photographs: Path) -> Photographs:
    return Photographs(photographs, "train")


def recipe(photographs: Path, **changes: object) -> Recipe:
    stages = (Stage(until=1.0, size=SIDE, batch=2),)
    return Recipe(photographs=photographs, stages=stages, **{"validation_samples": 0, **changes})


def settings(**changes: object) -> FitSettings:
    plain = {"steps": 4, "warmup_steps": 1, "workers": 0, "report_steps": 2, "rate": 1e-3, "bf16": False}
    return FitSettings(**{**plain, **changes})


def test_patches_are_what_their_leaf_makes_of_a_window(source: Photographs) -> None:
    made = [patch(source, seed=3, index=index, size=SIDE) for index in range(60)]
    assert {(frame.shape, frame.dtype.name) for frame, _ in made} == {((SIDE, SIDE, 3), "uint8")}
    assert len({leaf for _, leaf in made}) > 45
    again = patch(source, seed=3, index=7, size=SIDE)
    np.testing.assert_array_equal(again[0], made[7][0])
    assert again[1] == made[7][1]


def test_manipulations_stay_under_their_mask(source: Photographs) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        base = source.crop(rng, 48)
        sample = locally(base, partial(source.crop, rng, 48), rng, 1.0)
        np.testing.assert_array_equal(sample.frame[~sample.mask], base.frame[~sample.mask])
        assert sample.mask.any()
        assert sample.recipe["filter"] != LEAVES[UNTOUCHED].operation
        json.dumps(sample.recipe)


def test_forgeries_are_of_every_kind_and_one_in_four_is_ours(source: Photographs) -> None:
    samples = Forgeries(source, seed=1, size=48, video=False)
    kinds = [samples.sample(index).recipe for index in range(24)]
    assert all("parameters" in kinds[index] for index in range(0, 24, 4))
    assert len({str(made["kind"]) for made in kinds}) >= 4


def test_the_classifier_learns_and_its_extractor_is_taken_over(narrow: str, photographs: Path, tmp_path: Path) -> None:
    mantranet.fit(
        "mantranet-imc", tmp_path / "imc", recipe(photographs, validation_samples=12), settings(), body=narrow
    )
    content = checkpoints.read(tmp_path / "imc" / "ema.pt")
    assert content["model"] == "mantranet-imc"
    logged = [json.loads(line) for line in (tmp_path / "imc" / "log.jsonl").read_text().splitlines()]
    assert {"top_1", "top_10", "level_0", "level_5"} <= logged[-1].keys()
    assert logged[0]["manipulation"] == pytest.approx(np.log(len(LEAVES)), rel=0.1)
    bayar = content["state"]["extractor.first.bayar"]
    torch.testing.assert_close(bayar.sum((2, 3)), torch.zeros(3, 3), atol=1e-4, rtol=0)
    detector = create("mantranet", body=narrow)
    mantranet.start(detector, tmp_path / "imc" / "ema.pt", "mantranet")
    torch.testing.assert_close(detector.net.extractor.last.weight, content["state"]["extractor.last.weight"])


def test_the_first_step_goes_on_from_its_own_weights(narrow: str, photographs: Path, tmp_path: Path) -> None:
    before = mantranet.fresh_classifier(Config(body=narrow))
    checkpoints.save(tmp_path / "imc.pt", "mantranet-imc", before)
    going_on = recipe(photographs, weights=tmp_path / "imc.pt")
    mantranet.fit("mantranet-imc", tmp_path / "on", going_on, settings(rate=1e-12), body=narrow)
    after = checkpoints.read(tmp_path / "on" / "ema.pt")["state"]
    torch.testing.assert_close(after["decide.weight"], before.decide.weight.detach(), rtol=0, atol=1e-9)


def test_a_step_refuses_weights_of_another(narrow: str, photographs: Path, tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "ema.pt", "mantranet", create("mantranet", body=narrow))
    with pytest.raises(ValueError, match=r"holds mantranet, no classifier of manipulations\n  -> give a \*-imc run"):
        mantranet.load_classifier(tmp_path / "ema.pt")
    checkpoints.save(tmp_path / "imc.pt", "mantranet-imc", mantranet.fresh_classifier(Config(body=narrow, halvings=1)))
    from_other = recipe(photographs, weights=tmp_path / "imc.pt")
    for step in ("mantranet-imc", "mantranet"):
        with pytest.raises(ValueError, match=r"imc.pt was trained with halvings=1, not 0\n  -> ask for the same"):
            mantranet.fit(step, tmp_path / "run", from_other, settings(), body=narrow)
    checkpoints.save(tmp_path / "imc.pt", "mantranet-imc", mantranet.fresh_classifier(Config(body=narrow)))
    judged = create("mantranet", body=narrow, windows="7-63", channels=4)  # all of which is the second step's alone
    mantranet.start(judged, tmp_path / "imc.pt", "mantranet")


def test_the_first_step_resumes_exactly(
    narrow: str, photographs: Path, tmp_path: Path, interrupted: Callable[[float], AbstractContextManager[None]]
) -> None:
    mantranet.fit("mantranet-imc", tmp_path / "whole", recipe(photographs), settings(), body=narrow)
    with interrupted(0.5):
        mantranet.fit("mantranet-imc", tmp_path / "parts", recipe(photographs), settings(), body=narrow)
    assert checkpoints.read(tmp_path / "parts" / "checkpoint.pt")["progress"]["step"] == 2
    mantranet.fit("mantranet-imc", tmp_path / "parts", recipe(photographs), settings(), body=narrow)
    whole, parts = (checkpoints.read(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    assert (whole["progress"]["step"], parts["progress"]["step"]) == (4, 4)
    for kept in ("state", "average", "optimiser"):
        torch.testing.assert_close(parts[kept], whole[kept], rtol=0, atol=0)


@pytest.mark.parametrize(("halvings", "every"), [(0, 4), (1, 2), (2, 1)])
def test_sparse_decisions_are_those_of_their_pixels(narrow: str, halvings: int, every: int) -> None:
    classifier = mantranet.fresh_classifier(Config(body=narrow, halvings=halvings)).double()
    frame = torch.randint(0, 256, (2, 13, 10, 3), dtype=torch.uint8)
    torch.testing.assert_close(classifier.sparse(frame), classifier(frame)[..., ::every, ::every])


def test_an_anomaly_is_asked_for_in_shares_where_the_mask_is_coarse(narrow: str) -> None:
    detector = create("mantranet", body=narrow, halvings=1).eval()
    with torch.no_grad():
        detector.net.head.weight.zero_()
        detector.net.head.bias.fill_(2.0)
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 0, 0] = mask[0, 2:, 2:] = True  # of four pixels a quarter, none, none, all
    loss = mantranet.anomaly_loss(detector, torch.zeros(1, 4, 4, 3, dtype=torch.uint8), mask)["localisation"]
    assert float(loss.detach()) == pytest.approx(np.log1p(np.exp(2.0)) - 2.0 * (0.25 + 1.0) / 4, abs=1e-6)


def test_a_fresh_extractor_is_normalised_and_weights_that_are_given_are_not(
    narrow: str, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(
        mantranet.Fit, "run", lambda run, *_, **how: started.append(getattr(run.detector, "net", run.detector))
    )
    mantranet.fit("mantranet-imc", tmp_path / "fresh", recipe(photographs), settings(), body=narrow)
    mantranet.fit("mantranet", tmp_path / "whole", recipe(photographs), settings(), body=narrow)
    patches = Patches(Photographs(photographs, "train"), seed=recipe(photographs).seed, size=SIDE)
    x = unit_range(torch.stack([patches[index][0] for index in range(mantranet.NORMALISING)]), torch.float32)
    with torch.inference_mode():
        for fresh in started:
            torch.testing.assert_close(fresh.extractor.raw(x).var((0, 2, 3), correction=0), torch.ones(8))
    given = mantranet.fresh_classifier(Config(body=narrow))
    checkpoints.save(tmp_path / "given.pt", "mantranet-imc", given)
    how = recipe(photographs, weights=tmp_path / "given.pt")
    mantranet.fit("mantranet-imc", tmp_path / "run", how, settings(), body=narrow)
    assert torch.equal(started[-1].extractor.last.weight, given.extractor.last.weight)


def test_the_second_step_resumes_exactly_and_keeps_its_constraints(
    narrow: str, photographs: Path, tmp_path: Path, interrupted: Callable[[float], AbstractContextManager[None]]
) -> None:
    torch.manual_seed(1)
    checkpoints.save(tmp_path / "start.pt", "mantranet", create("mantranet", body=narrow))
    how = recipe(photographs, weights=tmp_path / "start.pt")
    mantranet.fit("mantranet", tmp_path / "whole", how, settings(), body=narrow)
    with interrupted(0.5):
        mantranet.fit("mantranet", tmp_path / "parts", how, settings(), body=narrow)
    (tmp_path / "start.pt").unlink()  # the checkpoint says that the extractor is trained at half the rate
    mantranet.fit("mantranet", tmp_path / "parts", recipe(photographs), settings(), body=narrow)
    whole, parts = (checkpoints.read(tmp_path / name / "checkpoint.pt")["state"] for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    torch.testing.assert_close(whole["net.adapt.weight"].flatten(1).norm(dim=1), torch.ones(64))
    assert whole["net.zpool.min_std"].min() >= 0


def test_the_second_step_reads_shards_and_leaves_video_out(
    narrow: str, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr(mantranet.Fit, "run", lambda run, samples, *_, **how: given.append((samples, how["validate"])))
    samples = Samples(Photographs(photographs, "train"), seed=1, size=SIDE)
    (tmp_path / "shards").mkdir()
    write_folder(tmp_path / "shards", samples.sample, count=2, shards=1)
    for changes in ({"shards": tmp_path / "shards"}, {"video": False, "validation_samples": 1}):
        mantranet.fit("mantranet", tmp_path / "run", recipe(photographs, **changes), settings(), body=narrow)
    (read, _), (made, validate) = given
    assert len(read) == 2
    assert (made.video, validate.keywords["samples"].video) == (False, False)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_shortened_steps_are_those_of_a_lower_rate(decay: float) -> None:
    def two() -> list[torch.nn.Parameter]:
        torch.manual_seed(0)
        return [torch.nn.Parameter(torch.randn(5, dtype=torch.float64)) for _ in range(2)]

    def walk(optimiser: torch.optim.Optimizer, slow: torch.nn.Parameter, fast: torch.nn.Parameter) -> None:
        for _ in range(6):
            optimiser.zero_grad()
            (slow.sin().sum() * fast.square().sum()).backward()
            optimiser.step()

    (slow, fast), (slow_by_group, fast_by_group) = two(), two()
    one = torch.optim.AdamW([slow, fast], lr=0.1, weight_decay=decay)
    shorten_steps(one, [slow], 0.5)
    groups = [{"params": [slow_by_group], "lr": 0.05}, {"params": [fast_by_group], "lr": 0.1}]
    walk(one, slow, fast)
    walk(torch.optim.AdamW(groups, weight_decay=decay), slow_by_group, fast_by_group)
    torch.testing.assert_close(slow, slow_by_group)
    torch.testing.assert_close(fast, fast_by_group)


def test_accuracies_by_rank_level_and_family() -> None:
    first = next(index for index, leaf in enumerate(LEAVES) if leaf.operation == "JPEG")
    truth = np.array([first, first, 0, 0])
    ranked = np.arange(100, 140).reshape(4, 10)
    ranked[0, 0] = first  # right
    ranked[1, 0] = first + 1  # its pair: right up to level 4
    ranked[1, 2] = first  # third
    ranked[2, 0] = 17  # another blur: right at level 0 alone
    ranked[3, 0] = first  # wrong at every level
    figures = ranked_accuracy(ranked, truth)
    tops = {"top_1": 0.25, "top_3": 0.5, "top_5": 0.5, "top_10": 0.5}
    levels = {"level_0": 0.75, **{f"level_{level}": 0.5 for level in (1, 2, 3, 4)}, "level_5": 0.25}
    assert figures == {**tops, **levels, "top_1_blur": 0.0, "top_1_compression": 0.5}


def test_patches_are_tensors(source: Photographs) -> None:
    frame, leaf = Patches(source, seed=1, size=SIDE)[5]
    assert (frame.dtype, tuple(frame.shape), leaf.dtype) == (torch.uint8, (SIDE, SIDE, 3), torch.int64)
