"""Proof that it is MAG: its counts, its cost, and its layers against what the paper writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from training import checkpoints, models
from training.models.mag import Config, simplified
from training.nn.deeplab import FrameNorm
from training.nn.retoucher import THIN, Retoucher
from training.nn.unet_uc import DoublingConv, UNetUC, extended
from training.recipes.mag import discriminator

SIZES = [(1, 1), (3, 90), (16, 16), (33, 47), (64, 121)]
SMALL = {"classes": 2, "width": 4, "widest": 8, "depth": 4}


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def as_written(conv: DoublingConv, x: Tensor) -> Tensor:
    """Upsample, then convolve."""
    doubled = F.interpolate(x, scale_factor=2, mode="nearest")
    return F.conv2d(F.pad(doubled, (1, 1, 1, 1), mode="reflect"), conv.weight, conv.bias)


def giga_macs(net: nn.Module, *inputs: Tensor) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net(*inputs)
    return counter.get_total_flops() / 2e9


def test_parameter_counts_are_the_published_ones() -> None:
    with torch.device("meta"):
        nets = [
            models.create("mag", classes=0),
            Retoucher(widths=Config().widths),
            discriminator(3, 64),
            discriminator(5, 64),
        ]
    millions = [parameters(net) / 1e6 for net in nets]
    np.testing.assert_allclose(millions, [48.07, 48.07, 2.77, 2.77], atol=0.006)


@pytest.mark.parametrize(
    ("classes", "size", "published"),
    [(0, (512, 512), 44.1), (3, (512, 512), 45.0), (10, (512, 512), 47.1), (0, (1080, 1920), 529.1)],
)
def test_multiply_accumulates(
    classes: int, size: tuple[int, int], published: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upsampled and then convolved as the paper has it; in one step the upward half costs four ninths."""
    with torch.device("meta"):
        detector = models.create("mag", classes=classes).eval()
        frame = torch.zeros(1, *size, 3, dtype=torch.uint8)
        in_one_step = giga_macs(detector, frame)
        monkeypatch.setattr(DoublingConv, "forward", as_written)
        assert giga_macs(detector, frame) == pytest.approx(published, rel=0.01)
    assert in_one_step < 0.62 * published


def test_a_discriminator_costs_what_was_published() -> None:
    with torch.device("meta"):
        assert giga_macs(discriminator(3, 64), torch.zeros(1, 3, 512, 512)) == pytest.approx(12.9, rel=0.01)


def test_a_discriminator_sees_patches_of_70_px() -> None:
    net = discriminator(1, 2).eval().double()
    x = torch.zeros(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    answer = net(x)
    middle = answer.shape[-1] // 2
    answer[0, 0, middle, middle].backward()
    seen = (x.grad[0, 0] != 0).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [70, 70]


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3)])
@pytest.mark.parametrize("merged", [False, True])
def test_doubling_in_one_step_is_upsampling_and_convolving(size: tuple[int, int], merged: bool) -> None:
    torch.manual_seed(0)
    conv = DoublingConv(3, 2).double()
    conv.bias = nn.Parameter(torch.randn(2, dtype=torch.float64))
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    made = (conv.merged() if merged else conv)(x)
    torch.testing.assert_close(made, as_written(conv, x), atol=1e-12, rtol=0)


def test_doubling_learns_as_upsampling_and_convolving_does() -> None:
    torch.manual_seed(0)
    conv = DoublingConv(3, 2).double()
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    gradients = [torch.autograd.grad(f(x).sin().sum(), (x, conv.weight)) for f in (conv, lambda x: as_written(conv, x))]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def naive_extended(x: np.ndarray, multiple: int) -> np.ndarray:
    height, width = (-(-side // multiple) * multiple for side in x.shape)
    return np.pad(x, ((0, height - x.shape[0]), (0, width - x.shape[1])), mode="symmetric")


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (8, 16), (17, 5)])
def test_frames_are_mirrored_to_a_multiple(size: tuple[int, int], rng: np.random.Generator) -> None:
    x = rng.standard_normal(size)
    np.testing.assert_array_equal(extended(torch.from_numpy(x)[None, None], 8)[0, 0], naive_extended(x, 8))


def test_no_checkerboard() -> None:
    """On a constant input every pixel of the answer is the same, but near the borders of the strided layers."""
    torch.manual_seed(0)
    net = UNetUC(3, 2, widths=(4, 8, 8)).double().eval()
    answer = net(torch.full((1, 3, 128, 128), 0.7, dtype=torch.float64))[0, :, 60:68, 60:68]
    torch.testing.assert_close(answer, answer[:, :1, :1].expand_as(answer), atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_any_size(size: tuple[int, int]) -> None:
    detector = models.create("mag-lite", **SMALL).eval()
    with torch.inference_mode():
        heatmap, score = detector(torch.zeros(2, *size, 3, dtype=torch.uint8))
        retouched = Retoucher(widths=(4, 8))(torch.rand(2, 3, *size))
    assert heatmap.shape == (2, *size)
    assert score.shape == (2,)
    assert retouched.shape == (2, 3, *size)


@pytest.mark.parametrize(("name", "refined", "stem"), [("mag", 0, 0), ("mag-lite", 0, 0), ("mag-lite", 3, 5)])
@pytest.mark.parametrize("of_the_frame", [False, True])
def test_less_work_gives_the_same_answer(name: str, refined: int, stem: int, of_the_frame: bool) -> None:
    torch.manual_seed(0)
    how = {"refined": refined, "stem": stem, "of_the_frame": of_the_frame}
    detector = models.create(name, **SMALL, **how).double().eval()
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, nn.BatchNorm2d | FrameNorm):
            module.weight.data.uniform_(0.5, 2)
    x = torch.rand(2, 3, 37, 50, dtype=torch.float64)
    shorter = simplified(detector.net)
    for net in (shorter, detector.net):
        net.answers = net.rest(net.local(x))
    torch.testing.assert_close(shorter.answers[0], detector.net.answers[0], atol=1e-9, rtol=0)
    torch.testing.assert_close(shorter.answers[1][0], detector.net.answers[1][0][:, :1], atol=1e-9, rtol=0)


def test_the_first_layer_is_exact_on_tiles() -> None:
    torch.manual_seed(0)
    net = models.create("mag-lite", **SMALL, stem=0).double().eval().net
    halo, align = net.reach
    x = torch.rand(1, 3, 32, 45, dtype=torch.float64)
    tile = net.local(x[:, :, :, 16 - halo :])[0][..., halo // 2 :]
    torch.testing.assert_close(tile, net.local(x)[0][..., 16 // 2 :])
    assert align // 2 == 2  # the stride that a contract reads from it
    assert models.create("mag-lite", **SMALL).net.reach is None


def test_the_score_is_the_heatmap_weighted_by_itself() -> None:
    detector = models.create("mag", **SMALL)
    mask = torch.full((1, 1, 20, 20), -4.0)
    mask[:, :, :4, :5] = 3.0
    p = 1 / (1 + np.exp(-mask.numpy().astype(np.float64)))
    score = detector.score(detector.net.conclude(mask))
    assert score.item() == pytest.approx((p**2).mean() / p.mean(), rel=1e-5)


@pytest.mark.parametrize("side", [2, 10, 20])
def test_the_score_does_not_depend_on_the_size_of_a_region(side: int) -> None:
    detector = models.create("mag", **SMALL)
    mask = torch.full((1, 1, 40, 40), -16.0)
    mask[:, :, :side, :side] = 3.0
    assert detector.score(detector.net.conclude(mask)).item() == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-2)


def test_retouching_is_a_blend() -> None:
    """Equation 1, and without a trace where nothing is laid over the frame."""
    torch.manual_seed(0)
    net = Retoucher(widths=(4, 8)).eval()
    x = torch.rand(2, 3, 16, 20)
    made = net.unet(x).detach().double().numpy()
    colours, alpha = 1 / (1 + np.exp(-made[:, :3])), 1 / (1 + np.exp(THIN - made[:, 3:]))
    assert alpha.max() < 0.1  # a thin layer to begin with
    np.testing.assert_allclose(net(x).detach(), alpha * colours + (1 - alpha) * x.double().numpy(), atol=1e-6)
    net.unet.forward = lambda x: torch.full((len(x), 4, *x.shape[2:]), -200.0)
    frame = torch.randint(0, 256, (2, 16, 20, 3), dtype=torch.uint8)
    assert torch.equal(net.pixels(frame), frame)


def test_traces_begin_as_high_pass_filters_and_stay() -> None:
    torch.manual_seed(0)
    first = models.create("mag-lite", stem=0, of_the_frame=False).net.unet.first
    weight = first.conv.weight
    assert not weight.requires_grad
    sums = weight.sum((1, 2, 3)).abs()
    assert (sums[:18] < 1e-6).all()  # flat areas answer with nothing
    assert (sums[18:] > 1e-6).all()
    assert isinstance(first.norm, nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": -1}, "classes is -1 and dropout 0.5\n  -> use 0 or more classes"),
        ({"dropout": 1.0}, "classes is 10 and dropout 1.0"),
        ({"depth": 1}, "depth is 1, width 64 and widest 512\n  -> use a depth of 2 to 12"),
        ({"refined": 10}, "refined is 10 and stem 0\n  -> use 0 to the depth, 9"),
        ({"stem": -1}, "refined is 0 and stem -1\n  -> .* and 0 or more"),
        ({"width": 600}, "width 600 and widest 512"),
    ],
)
def test_config_refuses(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)


def test_refinements_are_silent_at_first_and_weights_without_them_go_on_with_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    plain = models.create("mag-lite", **SMALL, refined=0)
    checkpoints.save(tmp_path / "plain.pt", "mag-lite", plain)
    refined = models.create("mag-lite", **SMALL)
    refined.load_state_dict(checkpoints.fitting(tmp_path / "plain.pt", refined, model="mag-lite"))
    assert "plain.pt was trained with refined=0, not 4: its weights go on" in caplog.text
    frame = torch.randint(0, 256, (1, 37, 50, 3), dtype=torch.uint8)
    for a, b in zip(plain.eval()(frame), refined.eval()(frame), strict=True):
        assert torch.equal(a, b)
    assert len(refined.net.unet.refinements) == 4
    for part in refined.net.unet.refinements:
        nn.init.ones_(part.change[-1].weight)
    assert not torch.equal(plain(frame)[0], refined(frame)[0])
    checkpoints.save(tmp_path / "refined.pt", "mag-lite", refined)
    with pytest.raises(ValueError, match="trained with refined=4, not 0\n  -> ask for the same"):
        checkpoints.fitting(tmp_path / "refined.pt", plain, model="mag-lite")


def test_normalised_by_the_frame_training_and_test_answer_alike_and_frames_do_not_meet() -> None:
    torch.manual_seed(0)
    detector = models.create("mag-lite", **SMALL).double()
    assert not any(isinstance(part, nn.BatchNorm2d) for part in detector.modules())
    x = torch.rand(2, 3, 32, 48, dtype=torch.float64)
    together = detector.train().net.annotate(x)
    torch.testing.assert_close(together, detector.eval().net.annotate(x), atol=1e-9, rtol=0)
    torch.testing.assert_close(together[:1], detector.net.annotate(x[:1]), atol=1e-9, rtol=0)
    brighter = detector.net.annotate(torch.cat([x[:1], x[1:] / 2]))
    torch.testing.assert_close(brighter[:1], together[:1], atol=1e-9, rtol=0)
    assert not torch.allclose(brighter[1:], together[1:])


def test_single_task_has_one_channel() -> None:
    assert Config(classes=0, edge=False).channels == 1
    assert Config().channels == 12
