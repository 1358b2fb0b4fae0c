"""The loop: resumes exactly, keeps its schedule, refuses what it cannot do."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from training.checkpoints import load
from training.data import Photographs, Samples
from training.fit import Fit, FitSettings, Partner, Progress, flushed_denormals, learning_rate
from training.models import create
from training.nn.detector import Detector
from training.recipes import psccnet
from training.recipes.psccnet import Recipe, Stage
from training.synthesis.shards import write_folder

SIDE = 32


class Made(Dataset):
    """Samples that need no photographs."""

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        frame = torch.randint(0, 256, (8, 8, 3), generator=generator, dtype=torch.uint8)
        return frame, frame[..., 0] > 128


class Net(nn.Module):
    """One convolution with normalisation, in the parts that a detector has."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))

    def local(self, x):
        return [x]

    def rest(self, maps):
        mask = self.layers(maps[0])
        return torch.stack([-mask.mean((1, 2, 3)), mask.mean((1, 2, 3))], 1), [mask]

    def locate(self, features):
        return features


def small(seed=0):
    torch.manual_seed(seed)
    return Detector(Net(), settings={}, citation="none")


def loss(detector, frame, mask):
    logits = detector.logits(frame).masks[0]
    return {"localisation": nn.functional.binary_cross_entropy_with_logits(logits.float(), mask.float())}


def settings(**changes):
    return FitSettings(**{"steps": 12, "warmup_steps": 3, "workers": 0, "report_steps": 4, **changes})


def fitted(folder, *, until=1.0, **changes):
    fit = Fit("small", small(), folder, settings(**changes))
    fit.run(Made(), loss, batch=4, until=until)
    return fit


@pytest.mark.parametrize("bf16", [False, True])
def test_resuming_equals_never_stopping(tmp_path, bf16):
    whole = fitted(tmp_path / "whole", bf16=bf16)
    fitted(tmp_path / "parts", until=0.5, bf16=bf16)
    torch.manual_seed(99)
    torch.randn(7)  # whatever the process did in between does not matter
    parts = fitted(tmp_path / "parts", bf16=bf16)
    assert parts.progress.step == whole.progress.step == 12
    for a, b in ((whole.detector.state_dict(), parts.detector.state_dict()), (whole.average, parts.average)):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)


def rivals(folder, *, until=1.0, seen=None):
    """A detector that loses dropped pixels, and a partner that hides them from it; both see three tensors."""
    torch.manual_seed(3)
    detector, hider = small(), nn.Conv2d(3, 3, 1)

    def watched(frame, mask, marks, *, sign, name):
        if seen is not None:
            weights = [weight.detach().clone() for net in (hider, detector) for weight in net.parameters()]
            seen.append((name, weights, marks))
        hidden = (hider(frame.permute(0, 3, 1, 2) / 255) * 255).permute(0, 2, 3, 1)
        score = detector.net.rest(detector.net.local(nn.functional.dropout(hidden.permute(0, 3, 1, 2) / 255)))[0]
        return {name: sign * nn.functional.cross_entropy(score, marks)}

    partner = Partner(net=hider, loss=partial(watched, sign=-1, name="hiding"), rate=0.5, betas=(0.5, 0.999))
    fit = Fit("small", detector, folder, settings(bf16=False), partners={"hider": partner})
    fit.run(Marked(), lambda _, *batch: watched(*batch, sign=1, name="finding"), batch=4, until=until)
    return fit


class Marked(Made):
    """Samples with a third tensor."""

    def __getitem__(self, index):
        return *super().__getitem__(index), torch.tensor(index % 2)


def test_partners_take_turns_and_move_nothing_but_their_own_weights(tmp_path):
    seen = []
    rivals(tmp_path, seen=seen)
    assert [name for name, *_ in seen] == 12 * ["hiding", "finding"]
    assert all(torch.equal(marks, torch.tensor([0, 1, 0, 1])) for *_, marks in seen)
    mine = 2  # weight and bias of the partner come first
    for (name, before, _), (_, after, _) in pairwise(seen):
        moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert any(moved[:mine]) == (name == "hiding")
        assert any(moved[mine:]) == (name == "finding")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {"hiding", "finding", "gradient"} <= lines[-1].keys()


def test_partners_resume_exactly_whatever_is_drawn_at_random(tmp_path):
    whole = rivals(tmp_path / "whole")
    rivals(tmp_path / "parts", until=0.5)
    parts = rivals(tmp_path / "parts")
    for a, b in (
        (whole.average, parts.average),
        (whole.partners["hider"].net.state_dict(), parts.partners["hider"].net.state_dict()),
    ):
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_run_goes_on_with_the_partners_it_had(tmp_path):
    rivals(tmp_path, until=0.5)
    with pytest.raises(
        ValueError, match=r"learns beside \['hider'\], not \[\]\n  -> go on as it began, or give another"
    ):
        fitted(tmp_path)


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(tmp_path):
    class Killed(Exception):
        pass

    def dying(detector, frame, mask):
        if fit.progress.step == 7:
            raise Killed("at step 7")
        return loss(detector, frame, mask)

    fit = Fit("small", small(), tmp_path / "run", settings())
    fit.run(Made(), dying, batch=4, until=0.5)
    with pytest.raises(Killed, match="at step 7"):
        fit.run(Made(), dying, batch=4)
    resumed, whole = fitted(tmp_path / "run"), fitted(tmp_path / "whole")
    assert all(torch.equal(resumed.average[key], whole.average[key]) for key in whole.average)


def test_a_compiled_run_is_the_same_run(tmp_path):
    """Traced and differentiated ahead of time, without the C++ that "inductor" makes of it."""
    eager = fitted(tmp_path / "eager", bf16=False)
    compiled = fitted(tmp_path / "compiled", bf16=False, compiler="aot_eager")
    assert compiled.average.keys() == eager.average.keys()
    for key, value in eager.average.items():
        torch.testing.assert_close(compiled.average[key], value, atol=1e-5, rtol=1e-4)
    resumed = Fit("small", small(1), tmp_path / "compiled", settings())
    assert resumed.progress.step == 12


def relabel(file, place):
    """Save ``file`` again as a machine does whose tensors lie on ``place``."""
    content = torch.load(file, weights_only=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda _: place)
        torch.save(content, file)


def test_checkpoints_of_a_gpu_go_on_and_load_on_a_cpu(tmp_path):
    """The other direction, and the arithmetic there, only a GPU can show."""
    fitted(tmp_path, until=0.5)
    for name in ("checkpoint.pt", "ema.pt"):
        relabel(tmp_path / name, "cuda:0")
        if not torch.cuda.is_available():
            with pytest.raises(RuntimeError, match="deserialize object on a CUDA device"):
                torch.load(tmp_path / name, weights_only=True)
    resumed = fitted(tmp_path)
    assert resumed.progress.step == 12
    momenta = [entry["exp_avg"] for entry in resumed.optimiser.state.values()]
    assert momenta
    assert {tensor.device.type for tensor in [*momenta, *resumed.average.values()]} == {"cpu"}


@pytest.mark.gpu
@pytest.mark.parametrize(("first", "then"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_run_moves_to_another_device_type_half_way(tmp_path, first, then):
    fitted(tmp_path, until=0.5, device=first, bf16=False)
    moved = fitted(tmp_path, device=then, bf16=False)
    whole = fitted(tmp_path / "whole", bf16=False)
    assert moved.progress.step == 12
    for key, value in whole.average.items():
        torch.testing.assert_close(moved.average[key].cpu(), value, atol=1e-3, rtol=1e-2)


def test_the_loss_falls(tmp_path):
    fitted(tmp_path, steps=80, rate=0.03)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["localisation"] < 0.8 * lines[0]["localisation"]
    assert lines[-1]["samples"] == 320
    assert all(line["images_per_second"] > 0 and 0 <= line["waiting"] <= 1 for line in lines)


def test_the_rate_warms_up_and_ends_at_a_hundredth():
    steps = FitSettings(steps=1000, rate=1.0, warmup_steps=10)
    rates = [learning_rate(steps, step, step / 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert max(rates) == pytest.approx(1.0, rel=0.01)
    assert rates[500] == pytest.approx(0.505, rel=0.01)
    assert rates[-1] == pytest.approx(0.01, rel=0.01)


def test_the_budget_is_spent_in_minutes_too():
    assert Progress(seconds=30).fraction(FitSettings(minutes=1)) == pytest.approx(0.5)
    assert Progress(seconds=90).fraction(FitSettings(minutes=1)) == 1


def test_validation_sees_the_average_and_leaves_no_trace(tmp_path):
    seen = []

    def validate(detector):
        seen.append({key: value.clone() for key, value in detector.state_dict().items()})
        assert not detector.training
        return {"pixel_auc": 0.5}

    fit = Fit("small", small(), tmp_path / "watched", settings())
    fit.run(Made(), loss, batch=4, until=0.5, validate=validate)
    fit.run(Made(), loss, batch=4, validate=validate)
    plain = fitted(tmp_path / "plain")
    assert all(torch.equal(seen[-1][key], plain.average[key]) for key, _ in plain.detector.named_parameters())
    shipped = torch.load(tmp_path / "watched" / "ema.pt", weights_only=True)["state"]
    assert all(torch.equal(seen[-1][key], shipped[key]) for key in shipped)
    assert all(torch.equal(value, plain.detector.state_dict()[key]) for key, value in fit.detector.state_dict().items())
    assert (tmp_path / "watched" / "curve.png").stat().st_size > 1000


def test_a_gpu_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no NVIDIA GPU\n  -> install its CUDA build, or train on --device cpu"):
        Fit("small", torch.nn.Identity(), tmp_path / "run", FitSettings(steps=1, device="cuda"))
    assert not (tmp_path / "run").exists()


def test_denormal_numbers_are_zero_in_training_and_nowhere_else():
    tiny = torch.tensor([1e-40])
    with flushed_denormals():
        assert (tiny * 1).item() == 0
    assert (tiny * 1).item() > 0


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path):
    fit = Fit("small", small(), tmp_path, settings())
    with pytest.raises(ValueError, match="gradient is not finite at step 0"):
        fit.run(Made(), lambda *args: {"localisation": loss(*args)["localisation"] * torch.inf}, batch=4)


def test_a_folder_holds_one_model(tmp_path):
    fitted(tmp_path, until=0.5)
    with pytest.raises(ValueError, match="holds a run of small"):
        Fit("other", small(), tmp_path, settings())


def test_a_run_goes_on_as_it_began_or_not_at_all(tmp_path):
    def begin(seed):
        return Fit("small", small(), tmp_path, settings(), choices={"seed": seed})

    fit = begin(1)
    fit.run(Made(), loss, batch=4, until=0.5)
    with pytest.raises(ValueError, match="began with seed=1, not 2\n  -> go on as it began, or give another --out"):
        begin(2)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save({key: saved[key] for key in saved if key != "choices"}, tmp_path / "checkpoint.pt")  # it tells of none
    assert begin(2).progress.step == 6


@pytest.mark.parametrize("budget", [{}, {"steps": 1, "minutes": 1.0}])
def test_exactly_one_budget(budget):
    with pytest.raises(ValueError, match="give exactly one"):
        FitSettings(**budget)


def test_the_first_convolution_starts_as_high_pass_filters():
    weight = torch.randn(64, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    random = weight.clone()
    psccnet.residual_start(weight)
    assert weight[:48].flatten(1).sum(1).abs().max() < 1e-5  # flat areas answer with nothing
    torch.testing.assert_close(weight[24:48], -weight[:24])
    assert torch.equal(weight[48:], random[48:])


def test_silent_branches_are_the_same_function_at_the_start():
    torch.manual_seed(0)
    detector = create("psccnet-lite", grid=32)
    psccnet.start(detector)
    fixed = [name for name, weight in detector.named_parameters() if not weight.requires_grad]
    assert fixed == ["net.trunk.conv1.weight"]
    frame = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad(), psccnet.silent(detector):
        left_out = detector.logits(frame)
    with torch.no_grad():
        multiplied = detector.logits(frame)
    for a, b in zip(left_out.masks, multiplied.masks, strict=True):
        torch.testing.assert_close(a, b)


@pytest.fixture(scope="module")
def shards(photographs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write_folder(folder, Samples(Photographs(photographs, "train"), seed=1, size=SIDE).sample, count=5, shards=2)
    return folder


def test_a_run_on_shards_begins_again_after_the_last_and_resumes_exactly(photographs, shards, tmp_path):
    recipe = Recipe(photographs=photographs, shards=shards, stages=(Stage(until=1.0, size=SIDE, batch=4),))
    samples = psccnet.sequence(recipe, Photographs(photographs, "validation"))(SIDE)
    runs = {"whole": (1.0,), "parts": (0.5, 1.0)}
    states = {}
    for name, stops in runs.items():
        for until in stops:
            fit = Fit("small", small(), tmp_path / name, settings(bf16=False))
            fit.run(samples, loss, batch=4, until=until)
        assert fit.progress.samples == 48
        states[name] = fit.average
    assert all(torch.equal(states["parts"][key], value) for key, value in states["whole"].items())


def test_shards_that_are_not_what_the_recipe_asks_for_are_refused(photographs, shards, tmp_path):
    held_out = Photographs(photographs, "validation")
    recipe = Recipe(photographs=photographs, shards=shards, stages=(Stage(until=1.0, size=SIDE, batch=4),))
    with pytest.raises(ValueError, match="holds samples of 32 px, not 256\n  -> give that size"):
        psccnet.sequence(replace(recipe, stages=(Stage(until=1.0, size=256, batch=4),)), held_out)
    with pytest.raises(ValueError, match="a ramp of 8 samples, but shards"):
        psccnet.sequence(replace(recipe, ramp=8), held_out)
    write_folder(tmp_path, Samples(held_out, seed=1, size=SIDE).sample, count=1, shards=1)
    with pytest.raises(ValueError, match=r"holds samples of train/.*, which validates\n  -> write them with --part"):
        psccnet.sequence(replace(recipe, shards=tmp_path), held_out)


def test_without_video_neither_training_nor_validation_needs_a_codec(photographs):
    recipe = Recipe(photographs=photographs, video=False)
    assert psccnet.sequence(recipe, Photographs(photographs, "validation"))(SIDE).video is False


def test_validating_is_not_waiting_for_data(tmp_path):
    def slow(detector):
        time.sleep(0.2)
        return {"pixel_auc": 0.5}

    fit = Fit("small", small(), tmp_path, settings(publish_minutes=1e-9))
    fit.run(Made(), loss, batch=4, until=0.5, validate=slow)
    assert fit.progress.waited < 0.5 < fit.progress.seconds


@pytest.mark.slow
def test_psccnet_lite_trains_in_two_stages_and_ships(photographs, tmp_path):
    recipe = Recipe(
        photographs=photographs,
        stages=(
            Stage(until=0.5, size=SIDE, batch=2, grid=32, correlation=False),
            Stage(until=1.0, size=2 * SIDE, batch=2),
        ),
        ramp=8,
        validation_samples=8,
    )
    psccnet.fit("psccnet-lite", tmp_path, recipe, settings(steps=4, report_steps=1, workers=1))
    detector = load(tmp_path / "ema.pt").eval()
    assert detector.net.config.grid == 128
    frame = torch.from_numpy(Samples(Photographs(photographs, "train"), seed=1, size=SIDE).sample(0).frame)
    heatmap, score = detector(frame[None])
    assert heatmap.shape == (1, SIDE, SIDE)
    assert 0 <= score.item() <= 1
