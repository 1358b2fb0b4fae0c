"""Work is counted as it is by hand, and the bound is the slower of arithmetic and traffic, layer by layer."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from benchmarks import roofline
from benchmarks.roofline import Layer, Rates, bound_s, work
from training import models


class Small(nn.Module):
    """A convolution, its normalisation and activation, an addition, a pooling and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, frame, working_size):
        x = torch.relu(self.norm(self.first(frame.permute(0, 3, 1, 2).float())))
        return self.last(nn.functional.avg_pool2d(x + x, 2).mean((2, 3)))


def test_layers_are_counted_as_by_hand():
    with torch.device("meta"):
        model = Small().eval()
    height, width = 8, 10
    pixels = height * width
    convolution = Layer(2 * 3 * 9 * 4 * pixels, 3 * pixels + 3 * 9 * 4 + 4 + 4 * pixels)
    addition, pooling = Layer(0, 4 * pixels), Layer(0, 4 * pixels + pixels)
    product = Layer(2 * 4 * 2, 2 + 4 + 4 * 2 + 2)
    assert work(model, height=height, width=width) == [convolution, addition, pooling, product]


def test_the_bound_is_the_slower_of_the_two_for_each_layer():
    layers = [Layer(1000, 1), Layer(1, 500)]
    assert bound_s(layers, Rates(100.0, 10.0), precision="f32") == pytest.approx(10 + 4 * 500 / 10)
    assert bound_s(layers, Rates(100.0, 10.0), precision="bf16") == pytest.approx(10 + 2 * 500 / 10)


@pytest.mark.parametrize(
    ("name", "height", "width", "gflop"),
    [
        ("psccnet", 256, 256, 90.0),
        ("psccnet", 512, 512, 234.6),
        ("psccnet", 1080, 1920, 1567),
        ("mantranet", 1080, 1920, 17_178),
    ],
)
def test_a_network_is_as_much_work_as_its_authors(name, height, width, gflop):
    with torch.device("meta"):
        model = models.create(name).eval()
    flops = sum(layer.flops for layer in work(model, height=height, width=width))
    assert flops / 1e9 == pytest.approx(gflop, rel=0.005)


@pytest.mark.parametrize(("name", "fps"), [("psccnet", 207), ("mantranet", 44)])
def test_an_engine_that_runs_layer_by_layer_is_bound_on_an_h200(name, fps):
    """At the rates that a large matrix product in bf16 and a large copy reach on such a card."""
    with torch.device("meta"):
        model = models.create(name).eval()
    layers = work(model, height=1080, width=1920)
    assert 1 / bound_s(layers, Rates(790e12, 4.3e12), precision="bf16") == pytest.approx(fps, rel=0.05)


def test_a_working_size_leaves_the_work_of_the_smaller_frame():
    with torch.device("meta"):
        model = models.create("psccnet-lite").eval()
    shrunk = sum(layer.flops for layer in work(model, height=192, width=256, working_size=128))
    small = sum(layer.flops for layer in work(model, height=96, width=128))
    assert shrunk == pytest.approx(small, rel=0.02)


def test_rates_are_printed_as_json(monkeypatch, capsys):
    monkeypatch.setitem(roofline.SIDE, "cpu", 64)
    monkeypatch.setitem(roofline.COPIED, "cpu", 1 << 16)
    threads = torch.get_num_threads()
    roofline.main(["--precision", "bf16", "--threads", "1"])
    torch.set_num_threads(threads)
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"flops_per_s", "bytes_per_s"}
    assert min(found.values()) > 1e6
