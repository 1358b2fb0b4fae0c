"""The generator and the discriminator: their published cost, their reach, any size."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from training.nn.patchgan import FIELD, PatchGAN
from training.nn.unet import UNet


def giga_macs(module: nn.Module, *inputs: torch.Tensor) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(*inputs)
    return counter.get_total_flops() / 2e9


def test_the_published_costs() -> None:
    frame, mask = (torch.zeros(1, channels, 256, 256, device="meta") for channels in (3, 1))
    with torch.device("meta"):
        assert giga_macs(UNet(), frame, mask) == pytest.approx(6.1, rel=0.01)
        assert giga_macs(PatchGAN(4), torch.cat([frame, mask], dim=1)) == pytest.approx(3.2, rel=0.02)


def test_the_discriminator_judges_patches_of_its_field() -> None:
    judge = PatchGAN(4, width=2).double()
    x = torch.randn(1, 4, 256, 256, dtype=torch.float64, requires_grad=True)
    judged = judge(x)
    assert judged.shape == (1, 1, 30, 30)
    (gradient,) = torch.autograd.grad(judged[0, 0, 15, 14], x)
    rows, columns = (gradient[0].abs().sum((0, other)).nonzero() for other in (2, 1))
    assert int(rows.max() - rows.min()) + 1 == int(columns.max() - columns.min()) + 1 == FIELD


def test_a_normalised_discriminator_has_no_idle_biases() -> None:
    layers = PatchGAN(3, width=2, norm=True).layers
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in layers) == 3
    biases = [layer.bias is not None for layer in layers if isinstance(layer, nn.Conv2d)]
    assert biases == [True, False, False, False, True]


@pytest.mark.parametrize("size", [(32, 32), (33, 71), (5, 100)])
def test_the_generator_keeps_the_size_and_the_range(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    made = UNet(width=2, levels=5)(255 * torch.rand(2, 3, *size), torch.ones(2, 1, *size))
    assert made.shape == (2, 3, *size)
    assert made.min() >= 0
    assert made.max() <= 255


def test_the_generator_sees_the_mask() -> None:
    torch.manual_seed(0)
    net, frame = UNet(width=2, levels=5), 255 * torch.rand(1, 3, 32, 32)
    marked, unmarked = (net(frame, mask) for mask in (torch.ones(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)))
    assert (marked - unmarked).abs().max() > 0.1


def test_a_residual_generator_starts_with_no_change_and_learns() -> None:
    torch.manual_seed(0)
    net, frame, mask = UNet(width=2, levels=5, residual=True), 255 * torch.rand(1, 3, 32, 40), torch.ones(1, 1, 32, 40)
    made = net(frame, mask)
    assert torch.equal(made, frame)
    (made - 100).abs().mean().backward()
    assert net.up[0].weight.grad.abs().max() > 0
