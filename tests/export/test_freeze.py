"""Fresh weights are the same whenever and wherever they are made."""

from __future__ import annotations

import pytest
import torch

from benchmarks.frames import photograph
from export.freeze import freeze, fresh, lowered
from tests.export import tiny
from training import models


@pytest.fixture
def threads():
    """The number of torch's threads, put back after the test."""
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


@pytest.mark.usefixtures("threads")
def test_fresh_weights_do_not_depend_on_threads_or_on_what_was_drawn_before():
    made = []
    for count in (1, 2):
        torch.set_num_threads(count)
        torch.rand(count)
        made.append(freeze(fresh("psccnet-lite", [photograph(96, 128)])).state_dict())
    first, second = made
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(tensor.dtype != torch.float64 for tensor in first.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_first_convolution_alone_stays_float32(dtype):
    detector = lowered(tiny.detector(), dtype)
    found = {name: parameter.dtype for name, parameter in detector.net.named_parameters()}
    exact = dict.fromkeys(("first.conv.weight", "first.conv.bias"), torch.float32)
    assert found == exact | dict.fromkeys(("second.weight", "second.bias"), dtype)
    assert torch.equal(detector.calibration, tiny.detector().calibration)
    assert detector.local(torch.zeros(1, 8, 8, 3))[0].dtype == dtype


def test_fractions_of_a_level_reach_the_first_convolution():
    """200.0 and 200.4, over 255, are one number in bf16: a filter that cancels contents would see nothing."""
    detector = tiny.detector()
    detector.net.first.weight.zero_()
    detector.net.first.bias.zero_()
    detector.net.first.weight[:, 0, 1, 1], detector.net.first.weight[:, 0, 1, 2] = 1, -1
    stripes = torch.tensor([200.4, 200.0]).repeat(4)[None, None, :, None].expand(1, 8, 8, 3)
    (seen,) = lowered(detector, torch.bfloat16).local(stripes)
    assert float(seen[0, 0, 4, 4]) == pytest.approx(0.4 / 255, rel=2**-8)
    detector.to(torch.bfloat16)
    assert float(detector.local(stripes)[0][0, 0, 4, 4]) == 0


@pytest.mark.parametrize("model", models.names())
def test_every_model_meets_pixels_in_float32(model):
    """Which needs its first parameters to be those of the convolution on pixels."""
    with torch.device("meta"):
        frozen = freeze(models.create(model))
    assert lowered(frozen, torch.bfloat16).dtype == torch.float32
