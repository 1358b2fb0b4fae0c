"""Proof that it is GSR-Net's segmenter: its counts, its cost, and its parts against naive float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from training import models
from training.models.gsrnet import STRIDES, Config, GSRNet, log_mean_odds
from training.nn.deeplab import TAPS, FrameNorm, PyramidConv, SameConv, upsampled


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def naive_boundary(head: PyramidConv, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
    """As published: every map at full size, put together, padded with zeros, and then convolved."""
    large = [upsampled(x, stride, size) for x, stride in zip(maps, STRIDES, strict=True)]
    return F.conv2d(F.pad(torch.cat(large, dim=1), (1, 2, 1, 2)), head.kernel())


def macs(net: GSRNet, size: tuple[int, int]) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net.predictions(torch.zeros(1, 3, *size, device="meta"))
    return counter.get_total_flops() / 2e9


def test_parameters_are_those_of_the_published_network() -> None:
    with torch.device("meta"):
        detector = models.create("gsrnet")
        assert parameters(detector) == 20_553_920
        assert parameters(models.create("gsrnet", boundary=False)) == 20_553_920 - 2 * TAPS**2 * (896 + 4)
        assert parameters(models.create("gsrnet-lite")) / parameters(detector) == pytest.approx(1 / 16, rel=0.03)


@pytest.mark.parametrize(
    ("size", "giga_macs"), [((300, 300), 46.4), ((512, 512), 133.2), ((800, 1200), 487.9), ((1080, 1920), 1053.9)]
)
def test_multiply_accumulates(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], giga_macs: float) -> None:
    """Those of the published head with the published cost, and those of ours below it."""
    with torch.device("meta"):
        net = models.create("gsrnet").eval().net
    ours = macs(net, size)
    monkeypatch.setattr(PyramidConv, "forward", lambda head, maps, _, size: naive_boundary(head, maps, size))
    assert macs(net, size) == pytest.approx(giga_macs, rel=0.01)
    saved = 896 * 2 * TAPS**2 * size[0] * size[1] / 1e9
    assert ours < giga_macs - 0.85 * saved


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that was made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return made


def test_nothing_is_larger_than_the_first_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """At full HD, 64 channels of the frame's size; the published head would hold 896."""
    size = (1080, 1920)
    with torch.device("meta"):
        net = models.create("gsrnet").eval().net
    with torch.inference_mode(), Largest() as ours:
        net.predictions(torch.zeros(1, 3, *size, device="meta"))
    assert ours.elements == 64 * size[0] * size[1]
    monkeypatch.setattr(PyramidConv, "forward", lambda head, maps, _, size: naive_boundary(head, maps, size))
    with torch.inference_mode(), Largest() as published:
        net.predictions(torch.zeros(1, 3, *size, device="meta"))
    assert published.elements >= 896 * size[0] * size[1]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (16, 24), (33, 47), (41, 90)])
def test_boundary_head_equals_the_published_form(size: tuple[int, int]) -> None:
    """In float64, at sizes that are multiples of the strides and at others; border pixels too."""
    torch.manual_seed(0)
    widths = (5, 3, 4)
    head = PyramidConv(widths, 2).double()
    maps = [
        torch.randn(2, width, *(-(-side // stride) for side in size), dtype=torch.float64)
        for width, stride in zip(widths, STRIDES, strict=True)
    ]
    made = head(maps, STRIDES, size)
    assert made.shape == (2, 2, *size)
    torch.testing.assert_close(made, naive_boundary(head, maps, size), atol=1e-14, rtol=0)


@pytest.mark.parametrize("stride", [2, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (24, 17), (33, 8)])
def test_enlarging_is_linear_between_samples_that_lie_a_stride_apart(stride: int, size: tuple[int, int]) -> None:
    small = torch.randn(2, 3, *(-(-side // stride) for side in size), dtype=torch.float64)
    expected = small.numpy()
    for axis, side in ((2, size[0]), (3, size[1])):
        samples = stride * np.arange(expected.shape[axis])
        expected = np.apply_along_axis(
            lambda line, at=samples, side=side: np.interp(np.arange(side), at, line), axis, expected
        )
    np.testing.assert_allclose(upsampled(small, stride, size).numpy(), expected, atol=1e-13)
    learning = upsampled(small.clone().requires_grad_(), stride, size)
    np.testing.assert_allclose(learning.detach().numpy(), expected, atol=1e-13)


def test_heads_pad_one_before_and_two_after() -> None:
    torch.manual_seed(0)
    conv, x = SameConv(3, 2).double(), torch.randn(1, 3, 5, 6, dtype=torch.float64)
    padded = np.pad(x[0].numpy(), ((0, 0), (1, 2), (1, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (TAPS, TAPS), axis=(1, 2))
    expected = np.einsum("oiyx,ihwyx->ohw", conv.weight.detach().numpy(), windows)
    np.testing.assert_allclose(conv(x)[0].detach().numpy(), expected, atol=1e-14)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 6)])
def test_normalisation_is_by_the_frame_alone(size: tuple[int, int], rng: np.random.Generator) -> None:
    norm = FrameNorm(3).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = 5 + 3 * rng.standard_normal((2, 3, *size))
    mean, var = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
    scale, shift = (part.detach().numpy()[:, None, None] for part in (norm.weight, norm.bias))
    expected = (x - mean) / np.sqrt(var + 1e-5) * scale + shift
    frames = torch.from_numpy(x)
    for answer in (norm(frames), norm(frames.clone().requires_grad_())):
        np.testing.assert_allclose(answer.detach().numpy(), expected, atol=1e-12)


def test_normalisation_is_right_on_two_million_pixels(rng: np.random.Generator) -> None:
    """In single precision, where a mean far from zero would spoil sums that are taken in one go."""
    x = (10 + 0.1 * rng.standard_normal((1, 1, 1080, 1920))).astype(np.float32)
    with torch.inference_mode():
        made = FrameNorm(1)(torch.from_numpy(x)).numpy()
    exact = x.astype(np.float64)
    np.testing.assert_allclose(made, (exact - exact.mean()) / np.sqrt(exact.var() + 1e-5), atol=2e-5)


def test_a_frame_is_answered_alike_alone_and_in_a_batch(rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    detector = models.create("gsrnet", width=4, dropout=0.0).train()
    frames = torch.from_numpy(rng.integers(0, 256, (3, 40, 56, 3), dtype=np.uint8))
    with torch.no_grad():
        together, _ = detector(frames)
        alone, _ = detector(frames[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (3, 90), (32, 32), (33, 47)])
@pytest.mark.parametrize("boundary", [True, False])
def test_any_size(size: tuple[int, int], boundary: bool) -> None:
    detector = models.create("gsrnet", width=4, boundary=boundary).eval()
    with torch.inference_mode():
        heatmap, score = detector(torch.zeros(2, *size, 3, dtype=torch.uint8))
        mask, edge = detector.net.predictions(torch.zeros(2, 3, *size))
    assert heatmap.shape == (2, *size)
    assert score.shape == (2,)
    assert ((heatmap >= 0) & (heatmap <= 1)).all()
    assert mask.shape == (2, 1, *size)
    assert (edge is not None) == boundary


def test_biases_under_a_normalisation_change_nothing(rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    net = models.create("gsrnet", width=4).double().eval().net
    for conv in (part for part in net.modules() if isinstance(part, nn.Conv2d) and part.bias is not None):
        nn.init.normal_(conv.bias)
    x = torch.from_numpy(rng.random((1, 3, 40, 56)))
    short = net.simplified()
    assert parameters(net) - parameters(short) == 4 * (2 * 1 + 2 * 2 + 3 * 4 + 6 * 8)
    with torch.no_grad():
        torch.testing.assert_close(short.local(x)[0], net.local(x)[0], atol=1e-10, rtol=0)


def test_score_is_the_logarithm_of_the_mean_odds(rng: np.random.Generator) -> None:
    logits = 3 * rng.standard_normal((2, 1, 7, 9))
    expected = np.log(np.exp(logits).mean((1, 2, 3)))[:, None]
    np.testing.assert_allclose(log_mean_odds(torch.from_numpy(logits)).numpy(), expected, atol=1e-5)
    large = log_mean_odds(torch.full((1, 1, 4, 4), 500.0))
    np.testing.assert_allclose(large.numpy(), [[500.0]])


@pytest.mark.parametrize("settings", [{"width": 0}, {"dropout": 1.0}])
def test_config_refuses(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="use a width of at least 1, 64 in the paper, and a dropout in"):
        Config(**settings)
