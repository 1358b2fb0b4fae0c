"""What is shipped of a ManTra-Net answers as it does, and gives its weights back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.mantranets import SETTINGS, network, unit
from training import models
from training.models.mantranet import ManTraNet, _forgiven, simplified


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_simplified_answers_the_same(settings: dict[str, object], rng: np.random.Generator) -> None:
    net = network(**settings)
    less = simplified(net)
    x = unit(rng.integers(0, 256, (13, 10, 3), dtype=np.uint8))
    with torch.inference_mode():
        (score, (mask,)), (score_of_less, (mask_of_less,)) = (each.rest(each.local(x)) for each in (net, less))
    torch.testing.assert_close(mask_of_less, mask, atol=1e-10, rtol=0)
    torch.testing.assert_close(score_of_less, score, atol=1e-6, rtol=0)
    assert not [module for module in less.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert less.zpool.floor.min() >= 2.0**-10
    assert less.local(x)[0].abs().max() <= less.scale.factors.max() <= 2.0**15  # as float16 holds
    high_pass = less.extractor.first.weight.float()[net.config.free :][:9]
    assert (high_pass.half().double().sum((1, 2, 3)) == 0).all()  # nothing leaks where they are stored as halves


def test_simplified_keeps_the_floor_that_decides() -> None:
    """On a flat frame every deviation is below its floor: what is left is the floor's own work."""
    net = network()
    net.zpool.min_std.data.fill_(1.0)
    x = torch.rand(1, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for each in (net, simplified(net)):
            assert (each.moments(each.local(x))[1].sqrt() < each.zpool.floor).all()
        (_, (mask,)), (_, (mask_of_less,)) = (each.rest(each.local(x)) for each in (net, simplified(net)))
    torch.testing.assert_close(mask_of_less, mask, atol=1e-10, rtol=0)


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
    x = unit(rng.integers(0, 256, (13, 10, 3), dtype=np.uint8))
    again = trained_on(simplified(net), x, **settings)
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


@pytest.mark.parametrize("share", [None, -0.9, 0.9])
def test_unsimplified_halves_are_what_it_is_rounded_to_again(share: float | None, rng: np.random.Generator) -> None:
    """Rounded each by itself, filters and their biases do not agree; by what it takes to make them, no half changes.

    Not even where it takes a ``share`` of all that the roundings of a filter's numbers leave open.
    """
    settings = {"body": "lite", "channels": 16, "free": 20}
    less = simplified(network(**settings))
    free, first = slice(0, 20), less.extractor.first
    with torch.no_grad():
        for parameter in less.parameters():
            parameter.copy_(parameter.half())
        if share:
            open_ = _forgiven(first.weight[free]).sum((1, 2, 3)) / 2
            first.bias[free] = (share * open_ - first.weight[free].sum((1, 2, 3)) / 2).half().double()
    assert (first.bias + first.weight.sum((1, 2, 3)) / 2)[free].abs().min() > 1e-6
    again = trained_on(less, unit(rng.integers(0, 256, (13, 10, 3), dtype=np.uint8)), **settings)
    rounded = {name: parameter.half() for name, parameter in simplified(again).named_parameters()}
    kept = {name: parameter.half() for name, parameter in less.named_parameters()}
    bias = "extractor.first.bias"
    assert torch.equal(rounded.pop(bias)[free], kept.pop(bias)[free])
    assert not [name for name, value in kept.items() if not torch.equal(rounded[name], value)]
    bayar = again.extractor.first.bayar.clone()
    again.constrain()
    torch.testing.assert_close(again.extractor.first.bayar, bayar, atol=1e-12, rtol=0)


def test_a_half_forgives_half_its_last_place() -> None:
    """All that are not negative, moved by nearly as much either way, and by a little more."""
    halves = torch.from_numpy(np.arange(0x7C00, dtype=np.uint16).view(np.float16)).double()
    forgiven = _forgiven(halves)
    assert forgiven[0] == 0
    for move in (-0.99, 0.99):
        assert torch.equal((halves + move * forgiven).half().double(), halves)
    below = (halves - 1.01 * forgiven).half().double()
    assert (below < halves)[1:].all()
    assert torch.equal(_forgiven(-halves), forgiven)
