"""The torch model beside an artifact: unmodified, of the same function, and exported without this project's ways."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from benchmarks import torch_side
from benchmarks.frames import photograph
from export.freeze import freeze, fresh, settle
from sdk import artifact as artifacts
from training import checkpoints, models
from training.models.psccnet import SCCM
from training.nn.detector import Detector


@pytest.fixture(scope="module")
def detector():
    """psccnet-lite, small, with the statistics of a few frames."""
    torch.manual_seed(1)
    made = models.create("psccnet-lite", grid=32)
    frames = torch.from_numpy(np.stack([photograph(64, 72), photograph(64, 72)[::-1]]))
    settle(made, [frames])
    return made


@pytest.fixture(scope="module")
def frame():
    return torch.from_numpy(photograph(70, 90))[None]


def layers(module):
    return [type(part) for part in module.modules()]


def test_unfolding_gives_the_frozen_function_with_every_layer(detector, frame):
    frozen = freeze(detector)
    whole = torch_side.unfolded(frozen, "psccnet-lite")
    assert layers(whole) == layers(detector)
    assert nn.BatchNorm2d not in layers(frozen)
    with torch.inference_mode():
        for ours, theirs in zip(whole(frame), frozen(frame), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_weights_are_the_artifacts_or_not(detector, tmp_path):
    frozen = freeze(detector)
    largest = max(frozen.parameters(), key=torch.Tensor.numel).half()
    (tmp_path / "weights.bin").write_bytes(b"others" + largest.numpy().tobytes() + b"others")
    assert torch_side.has_weights(tmp_path, frozen)
    assert not torch_side.has_weights(tmp_path, freeze(fresh("psccnet-lite", [photograph(64, 72)])))


class Net(nn.Module):
    """Samples on a grid and correlates there, as PSCC-Net does, and does little else."""

    def __init__(self):
        super().__init__()
        self.first, self.sccm = nn.Conv2d(3, 4, 3, stride=2, padding=1), SCCM(4, 1, "paper")

    def local(self, x):
        return [self.first(x)]

    def rest(self, maps):
        grid = nn.functional.interpolate(maps[0], size=(8, 8), mode="bilinear", align_corners=True)
        return grid.mean((2, 3))[:, :2], [grid]

    def locate(self, features):
        return [self.sccm(features[0])]


def test_the_plain_export_answers_alike_and_holds_nothing_of_ours(frame):
    torch.manual_seed(2)
    small = Detector(Net(), settings={}, citation="none").eval()
    model = torch_side.plain_export(small)
    operators = [node.op_type for node in model.graph.node]
    assert "SCCMAttention" not in operators
    assert operators.count("Resize") == 2
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    heatmap, score = session.run(["heatmap", "score"], {"frame": frame.numpy()})
    with torch.inference_mode():
        expected = small(frame)
    np.testing.assert_allclose(heatmap, expected[0], atol=1e-5)
    np.testing.assert_allclose(score, expected[1], atol=1e-5)


@pytest.mark.parametrize(("side", "share"), [(256, 0.40), (512, 0.16)])
def test_localisation_takes_less_of_a_larger_frame(side, share):
    with torch.device("meta"):
        detector = models.create("psccnet")
    found = torch_side.localisation_share(detector, height=side, width=side)
    assert found == pytest.approx(share, rel=0.05)


def test_layers_are_those_of_the_frame_that_the_network_sees_and_of_bringing_it_down(detector):
    shrunk, small = (Counter(torch_side.listed(freeze(detector), text)) for text in ("256x128@64", "64x32@0"))
    down, across = 2 * 32 * 128 * (3 * 256), 2 * (32 * 3) * 256 * 64  # the two products of averaging by area
    assert sorted(layer.flops for layer in shrunk - small if layer.flops) == sorted([down, across])
    assert not [layer for layer in small - shrunk if layer.flops]
    assert sum((small & shrunk).values()) > 200


@pytest.mark.parametrize("name", artifacts.models())
def test_of_every_model_that_ships_there_is_a_torch_side(name, tmp_path, monkeypatch):
    """Of those with a shorter way to their answers too, whose artifacts have other layers than the model."""
    monkeypatch.setattr(torch_side, "_photographs", lambda: [photograph(64, 72)])
    torch_side.main([name, "--out", str(tmp_path), "--work", "64x48@0", "--work", "64x48@32"])
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert not facts["same_weights"]  # fresh ones
    flops = [sum(layer[0] for layer in facts["layers"][work]) for work in ("64x48@0", "64x48@32")]
    assert flops[0] > flops[1] > 1e7
    assert not (tmp_path / "plain.onnx").exists()
    with torch.inference_mode():
        heatmap, score = checkpoints.load(tmp_path / "detector.pt").eval()(torch.from_numpy(photograph(48, 64))[None])
    assert heatmap.shape == (1, 48, 64)
    assert 0 <= float(score) <= 1
