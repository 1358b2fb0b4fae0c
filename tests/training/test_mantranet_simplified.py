"""What is shipped of a ManTra-Net answers as it does, and gives its weights back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.mantranets import SETTINGS, grown_bayar, levels, network, unit
from training import models
from training.models.mantranet import ManTraNet, simplified


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_simplified_answers_the_same(settings: dict[str, object], rng: np.random.Generator) -> None:
    net = network(**settings)
    less = simplified(net)
    frame = rng.integers(0, 256, (13, 10, 3), dtype=np.uint8)
    with torch.inference_mode():
        score, (mask,) = net.rest(net.local(unit(frame)))
        score_of_less, (mask_of_less,) = less.rest(less.local(levels(frame)))
    torch.testing.assert_close(mask_of_less, mask, atol=1e-10, rtol=0)
    torch.testing.assert_close(score_of_less, score, atol=1e-6, rtol=0)
    assert not [module for module in less.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert less.zpool.floor.min() >= 2.0**-10
    assert less.local(levels(frame))[0].abs().max() <= less.scale.factors.max() <= 2.0**15  # as float16 holds
    rounded(less)
    high_pass = less.extractor.first.weight[net.config.free :]
    assert (high_pass.half().double().sum((2, 3)) == 0).all()  # nothing leaks where they are stored as halves


def test_simplified_keeps_the_floor_that_decides() -> None:
    """On a flat frame every deviation is below its floor: what is left is the floor's own work."""
    net = network()
    net.zpool.min_std.data.fill_(1.0)
    x = torch.rand(1, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        masks = []
        for each, pixels in ((net, x), (simplified(net), 255 * x)):
            maps = each.local(pixels)
            assert (each.moments(maps)[1].sqrt() < each.zpool.floor).all()
            masks.append(each.rest(maps)[1][0])
    mask, mask_of_less = masks
    torch.testing.assert_close(mask_of_less, mask, atol=1e-10, rtol=0)


def rounded(less: ManTraNet) -> None:
    """As :func:`export.freeze.freeze` does."""
    less.extractor.first.round_to_halves()
    with torch.no_grad():
        for parameter in less.parameters():
            parameter.copy_(parameter.half())


def trained_on(less: ManTraNet, x: torch.Tensor, **settings: object) -> ManTraNet:
    """What a simplified copy is made into, with the statistics of its channels on ``x``."""
    again = models.create("mantranet", **settings).net.double().eval()
    with torch.no_grad():
        (channels,) = less.local(x)
    statistics = {"zpool.norm": (channels.mean((0, 2, 3)), channels.var((0, 2, 3), correction=0))}
    again.load_state_dict(again.unsimplified(less.state_dict(), statistics))
    return again


@pytest.mark.parametrize("settings", SETTINGS[2:], ids=str)
def test_unsimplified_answers_the_same_in_training_too(settings: dict[str, object], rng: np.random.Generator) -> None:
    """With floors that decide in every other channel, and the very weights wherever Z-scores show them."""
    net = network(**settings)
    net.zpool.min_std.data[::2] = 1.0
    frame = rng.integers(0, 256, (13, 10, 3), dtype=np.uint8)
    x, again = unit(frame), trained_on(simplified(net), levels(frame), **settings)
    weights = {name: value.clone() for name, value in again.state_dict().items()}
    for name, value in net.state_dict().items():
        if not name.startswith("zpool."):
            torch.testing.assert_close(weights[name], value, atol=1e-12, rtol=0)
    again.constrain()
    for name, value in again.state_dict().items():
        torch.testing.assert_close(weights[name], value, atol=1e-12, rtol=0)
    with torch.no_grad():
        masks = [each.rest(each.local(x))[1][0] for each in (net, again)]
        deviations = again.moments(again.local(x))[1].sqrt()
        masks.append(again.train().rest(again.local(x))[1][0])
    for mask in masks[1:]:
        torch.testing.assert_close(mask, masks[0], atol=1e-10, rtol=0)
    assert set((deviations < again.zpool.floor)[0].tolist()) == {True, False}


def test_unsimplified_halves_are_what_it_is_rounded_to_again(rng: np.random.Generator) -> None:
    settings = {"body": "lite", "channels": 16, "free": 20}
    less = simplified(network(**settings))
    rounded(less)
    again = trained_on(less, levels(rng.integers(0, 256, (13, 10, 3), dtype=np.uint8)), **settings)
    bayar = again.extractor.first.bayar.clone()
    kept = dict(less.named_parameters())
    anew = simplified(again)
    rounded(anew)
    assert not [name for name, value in anew.named_parameters() if not torch.equal(value, kept[name])]
    again.constrain()
    torch.testing.assert_close(again.extractor.first.bayar, bayar, atol=1e-12, rtol=0)


def test_rounded_residuals_are_nearly_the_same_however_bayars_filters_grow(rng: np.random.Generator) -> None:
    """Around the middle they have large numbers of either sign after long training: rounded one by one they leak."""
    net = network(body="lite", channels=16)
    net.extractor.first.bayar.data = grown_bayar(4, 26.0).double()
    net.constrain()
    frame = rng.integers(0, 2, (40, 40, 3), dtype=np.uint8) + np.linspace(150, 240, 40, dtype=np.uint8)[:, None]
    less = simplified(net)
    with torch.inference_mode():
        residuals = less.extractor.residuals(levels(frame))
        less.extractor.first.round_to_halves()
        error = less.extractor.residuals(levels(frame)) - residuals
        one_by_one = simplified(net)
        one_by_one.extractor.first.weight.copy_(one_by_one.extractor.first.weight.half())
        leak = one_by_one.extractor.residuals(levels(frame)) - residuals
    assert error.abs().max() < leak.abs().max() / 5
