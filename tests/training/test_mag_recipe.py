"""Four networks in turn: who learns from what, that a run goes on where it stood, and what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training import annotation, checkpoints
from training.annotation import Weights
from training.classes import Classes
from training.data import Photographs
from training.fit import FitSettings
from training.forgers import MAG, Forger
from training.models import create
from training.recipes import mag
from training.recipes.mag import Rivals, floats, pairs
from training.recipes.psccnet import Recipe, Stage
from training.synthesis import synthesize

SIDE = 32
NET = {"width": 4, "widest": 8, "depth": 4}


@pytest.fixture(scope="module")
def named(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs, with names for the labels of those that have label maps."""
    folder = tmp_path_factory.mktemp("named") / "train"
    listing = (photographs / "SOURCES.csv").read_text().replace("train/ccp/", "train/ccp/images/")
    for path in photographs.rglob("*.*"):
        place = folder / path.relative_to(photographs)
        place = place.parent / "images" / place.name if "ccp" in place.parts else place
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    (folder / "SOURCES.csv").write_text(listing)
    (folder / "ccp" / "labels.json").write_text('{"3": "ball"}')
    return folder


def recipe(photographs: Path, **changes: object) -> Recipe:
    stages = (Stage(until=1.0, size=SIDE, batch=2),)
    return Recipe(photographs=photographs, stages=stages, video=False, **{"validation_samples": 0, **changes})


def settings(**changes: object) -> FitSettings:
    plain = {"steps": 4, "warmup_steps": 1, "workers": 0, "report_steps": 2, "rate": 1e-3, "bf16": False}
    return FitSettings(**{**plain, **changes})


@pytest.fixture
def rivals() -> Rivals:
    torch.manual_seed(0)
    return Rivals(create("mag-lite", **NET, classes=2).train().net, Weights())


def batch() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 256, (2, 2, SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)
    mask = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    mask[:, 4:12, 6:20] = True
    classes = torch.randint(0, 3, (2, 2, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    classes[0, 1] = annotation.UNKNOWN
    return frames[0], mask, classes[0], frames[1], classes[1]


def reached(loss: torch.Tensor, net: torch.nn.Module) -> bool:
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, retain_graph=True)
    return any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)


def test_every_network_is_reached_by_its_own_losses_and_only_by_those_meant(rivals: Rivals) -> None:
    first, data = next(weight for weight in rivals.annotator.parameters() if weight.requires_grad), batch()
    nets = {"D_A": rivals.plausibility, "D_R": rivals.realism, "G_R": rivals.retoucher}
    terms = rivals.judge_annotations(*data) | rivals.judge_frames(*data) | rivals.retouch(*data)
    assert [name for name, net in nets.items() if reached(terms["telling_annotations"], net)] == ["D_A"]
    assert [name for name, net in nets.items() if reached(terms["telling_frames"], net)] == ["D_R"]
    for name in ("semantic", "hiding", "realism"):
        assert reached(terms[name], rivals.retoucher), name
    terms = rivals.annotate(None, *data)
    assert set(terms) == {"balanced_tampered", "balanced_authentic", "balanced_retouched", "plausible"}
    for name, term in terms.items():  # the adversary's gradient too, which the published script cuts off
        assert torch.autograd.grad(term, first, retain_graph=True)[0].abs().max() > 0, name
        assert not reached(term, rivals.retoucher), name


def test_losses_are_the_equations_with_the_papers_weights(rivals: Rivals) -> None:
    frame, mask, classes, authentic, named = batch()
    rivals.annotator.eval()
    rivals.judge_annotations(frame, mask, classes, authentic, named)
    made = rivals.retouch(frame, mask, classes, authentic, named)
    answer = rivals.annotator.annotate(rivals.retouched)
    truth = annotation.annotation(mask, classes, count=2)
    counted = (~mask & (classes != annotation.UNKNOWN)).float()
    expected = {
        "semantic": 10 * annotation.semantic(answer[:, 2:], truth[:, 2:], counted),
        "hiding": 10 * annotation.hiding(answer[:, 0]),
        "identity": torch.zeros(()),
    }
    for name, term in expected.items():
        torch.testing.assert_close(made[name], term, msg=name)
    assert made["realism"].item() == pytest.approx(0.25 * np.log(2), rel=0.2)
    supervised = annotation.known(classes, count=2)
    terms = rivals.annotate(None, frame, mask, classes, authentic, named)
    torch.testing.assert_close(terms["balanced_retouched"], annotation.balanced(answer, truth, supervised))
    whole = annotation.annotation(torch.zeros_like(mask), named, count=2)
    found = annotation.balanced(rivals.annotator.annotate(floats(authentic)), whole, annotation.known(named, count=2))
    torch.testing.assert_close(terms["balanced_authentic"], found)


def test_without_a_retoucher_the_tampered_frames_are_judged() -> None:
    torch.manual_seed(0)
    rivals = Rivals(create("mag-lite", **NET, classes=0, edge=False).train().net, Weights(), retoucher=False)
    assert list(rivals.partners(1e-3)) == ["plausibility"]
    data = batch()
    assert reached(rivals.judge_annotations(*data)["telling_annotations"], rivals.plausibility)
    terms = rivals.annotate(None, *data)
    assert set(terms) == {"balanced_tampered", "balanced_authentic", "plausible"}
    assert reached(terms["plausible"], rivals.annotator)


def test_without_a_retoucher_a_weight_of_0_leaves_the_annotator_alone() -> None:
    net = create("mag-lite", **NET, classes=0).train().net
    rivals = Rivals(net, Weights(plausible=0.0), retoucher=False)
    assert rivals.partners(1e-3) == {}
    terms = rivals.annotate(None, *batch())
    assert set(terms) == {"balanced_tampered", "balanced_authentic"}
    assert list(Rivals(net, Weights(plausible=0.0)).partners(1e-3)) == ["plausibility", "realism", "retoucher"]


def test_a_score_is_learned_from_what_is_annotated() -> None:
    torch.manual_seed(0)
    net = create("mag-lite", **NET, classes=0).eval().net
    rivals, data = Rivals(net, Weights(score=0.5, plausible=0.0), retoucher=False), batch()
    terms = rivals.annotate(None, *data)
    for name, frame, sign in (("tampered", data[0], -1), ("authentic", data[3], 1)):
        margin = net.conclude(net.annotate(floats(frame))[:, :1])[:, 1]
        torch.testing.assert_close(terms[f"score_{name}"], 0.5 * torch.log1p(torch.exp(sign * margin)).mean(), msg=name)
        assert reached(terms[f"score_{name}"], net), name


def test_outlines_weigh_as_asked() -> None:
    torch.manual_seed(0)
    net = create("mag-lite", **NET, classes=1).eval().net
    data = batch()
    found = []
    for outline in (1.0, 0.5, 0.0):
        rivals = Rivals(net, Weights(outline=outline, entropy=1.0, plausible=0.0), retoucher=False)
        found.append(rivals.annotate(None, *data))
    for name, whole in found[0].items():
        torch.testing.assert_close(found[1][name], (whole + found[2][name]) / 2, msg=name)
        assert whole > found[2][name], name


@pytest.mark.parametrize("retoucher", [True, False])
def test_means_decay_as_published_where_there_is_an_adversary(
    named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retoucher: bool
) -> None:
    runs = []
    monkeypatch.setattr(mag.Fit, "run", lambda run, *_, **__: runs.append(run))
    how = {} if retoucher else {"ablation": "no-retoucher", "plausible": 0}
    mag.fit("mag-lite", tmp_path, recipe(named), settings(), **NET, stem=16, **how)
    assert runs[0].optimiser.param_groups[0]["betas"] == ((0.5, 0.999) if retoucher else (0.9, 0.999))
    first = runs[0].detector.net.stem[0].weight  # high-pass filters to begin with, which stay
    assert not first.requires_grad
    assert first[:12].sum((2, 3)).abs().max() < 1e-4


def test_those_that_do_not_ship_learn_at_the_published_rate_at_most(rivals: Rivals) -> None:
    for rate, share in ((1e-3, 0.2), (2e-4, 1.0), (1e-4, 1.0)):
        assert [partner.rate for partner in rivals.partners(rate).values()] == pytest.approx([share] * 3)


def test_pairs_are_a_forgery_and_an_authentic_frame_with_their_classes(named: Path) -> None:
    photographs = Photographs(named, "train")
    classes = Classes(photographs, 1)
    made = pairs(photographs, recipe(named), size=SIDE, classes=classes)
    seen = set()
    for index in range(16):
        frame, mask, forged, authentic, genuine = made[index]
        assert frame.shape == authentic.shape == (SIDE, SIDE, 3)
        assert mask.any()
        assert not torch.equal(frame, authentic)
        seen |= set(forged.unique().tolist()) | set(genuine.unique().tolist())
    assert seen == {0, 1, annotation.UNKNOWN}
    assert all(torch.equal(a, b) for a, b in zip(made[3], made[3], strict=True))


@pytest.mark.parametrize("ablation", ["mag", "no-retoucher", "single-task"])
def test_every_ablation_resumes_exactly(
    named: Path, tmp_path: Path, ablation: str, interrupted: Callable[[float], AbstractContextManager[None]]
) -> None:
    for folder, shares in (("whole", (1.0,)), ("parts", (0.5, 1.0))):
        for share in shares:
            with interrupted(share):
                how = {"ablation": ablation, **NET, "dropout": 0.5}
                mag.fit("mag-lite", tmp_path / folder, recipe(named), settings(), **how)
    whole, parts = (checkpoints.read(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    assert whole["settings"]["classes"] == (0 if ablation == "single-task" else 1)
    assert ("retoucher" in whole["partners"]) == (ablation != "no-retoucher")
    states = [(whole["state"], parts["state"]), (whole["average"], parts["average"])]
    states += [(whole["partners"][name]["state"], parts["partners"][name]["state"]) for name in whole["partners"]]
    for a, b in states:
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_run_leaves_weights_a_forger_and_a_contact_sheet(
    named: Path, tmp_path: Path, interrupted: Callable[[float], AbstractContextManager[None]]
) -> None:
    for share in (0.5, 1.0):
        with interrupted(share):
            mag.fit("mag-lite", tmp_path, recipe(named, validation_samples=6), settings(), **NET, identity=1.0)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[0]["identity"] > 0
    assert "pixel_auc" in lines[-1]
    sheet = cv2.imread(str(tmp_path / "retouched.png"))
    assert sheet.shape[1] == 4 * SIDE  # frame, mask, two moments
    forger = Forger(tmp_path / "retoucher.pt", share=1.0)
    forged = synthesize(Photographs(named, "train"), seed=1, index=0, size=SIDE, kinds=("splice",), hardness=0.0)
    finished = forger(forged, np.random.default_rng(0))
    assert finished.recipe["forger"] == MAG
    np.testing.assert_array_equal(finished.frame[~forged.mask], forged.frame[~forged.mask])
    assert (finished.frame[forged.mask] != forged.frame[forged.mask]).mean() > 0.5
    detector = checkpoints.load(tmp_path / "ema.pt").eval()
    heatmap, score = detector(torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8))
    assert heatmap.shape == (1, SIDE, SIDE)
    assert 0 <= score.item() <= 1


def test_all_photographs_without_names_train_without_classes(photographs: Path, tmp_path: Path) -> None:
    mag.fit("mag-lite", tmp_path, recipe(photographs), settings(steps=1), **NET)
    assert checkpoints.read(tmp_path / "ema.pt")["settings"]["classes"] == 0


def test_an_unknown_ablation_is_refused(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no ablation of mag named 'no-retouch'\n  -> did you mean 'no-retoucher'"):
        mag.fit("mag-lite", tmp_path, recipe(photographs), settings(), ablation="no-retouch")
