"""GSR-Net as an artifact: a network that sees the whole frame at once answers as torch does."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import sdk
from export import artifact
from export.freeze import freeze
from export.targets import onnx as target
from tests.export.test_tensorrt import assert_answers, built, saved
from training import models
from training.card import Card
from training.nn.deeplab import FrameNorm
from training.nn.detector import Detector

SIZES = ((1, 1), (33, 90), (96, 64))


def fresh(*, boundary: bool) -> Detector:
    torch.manual_seed(0)
    detector = models.create("gsrnet", width=4, boundary=boundary)
    for norm in (part for part in detector.modules() if isinstance(part, FrameNorm)):
        torch.nn.init.uniform_(norm.weight, 0.5, 2)
        torch.nn.init.normal_(norm.bias)
    return freeze(detector)


def write(frozen: Detector, written: Path) -> Path:
    files, graphs = target._files(frozen)
    contract = target._contract(frozen, name="small", model="gsrnet-lite", card=Card(working_size=0), graphs=graphs)
    artifact.write(written, files, dataclasses.replace(contract, sha256=target._sha256(files)))
    return written


@pytest.fixture(scope="module")
def frozen() -> Detector:
    return fresh(boundary=True)


@pytest.fixture(scope="module")
def folder(frozen: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(frozen, tmp_path_factory.mktemp("artifacts") / "small")


@pytest.mark.parametrize("working_size", [0, 48])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_it_answers_as_torch_does(folder: Path, frozen: Detector, backend: str, working_size: int) -> None:
    rng = np.random.default_rng(1)
    with sdk.load(folder, backend=backend, precision="f32", working_size=working_size) as analyzer:
        for size in SIZES:
            frame = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            with torch.inference_mode():
                heatmap, score = frozen(torch.from_numpy(frame)[None], working_size)
            analysis = analyzer.analyze(frame)
            assert np.ptp(analysis.heatmap) > 0.01 or size == (1, 1)
            assert np.abs(analysis.heatmap - heatmap[0].numpy()).max() < 2e-5
            assert analysis.score == pytest.approx(float(score), abs=2e-5)


def test_the_baseline_without_a_boundary_answers_as_torch_does(tmp_path: Path) -> None:
    frozen = fresh(boundary=False)
    frame = np.random.default_rng(3).integers(0, 256, (33, 90, 3), dtype=np.uint8)
    with torch.inference_mode():
        heatmap, score = frozen(torch.from_numpy(frame)[None])
    with sdk.load(write(frozen, tmp_path / "small"), backend="onnxruntime", precision="f32") as analyzer:
        analysis = analyzer.analyze(frame)
    assert np.ptp(analysis.heatmap) > 0.01
    assert np.abs(analysis.heatmap - heatmap[0].numpy()).max() < 2e-5
    assert analysis.score == pytest.approx(float(score), abs=2e-5)


def test_one_piece_in_fp16_answers_as_torch_does(frozen: Detector, repository: Path, tmp_path: Path) -> None:
    """In ONNX Runtime, at an odd size, shrunk or not; NVIDIA's builder accepts both."""
    files = saved(frozen, tmp_path, "fp16")
    assert_answers(frozen, files, "fp16")
    if importlib.util.find_spec("tensorrt_rtx"):
        assert [answer.get("problem") for answer in built(repository, *files)] == [None, None]


def test_nothing_is_tiled(folder: Path) -> None:
    contract = sdk.load(folder, backend="onnxruntime").artifact.contract
    assert [(step.graph, step.tiling) for step in contract.plan] == [
        ("shrink", None), ("local", None), ("rest", None), ("locate", None),
    ]  # fmt: skip


def test_no_sum_is_over_more_than_one_axis_and_no_map_has_all_channels_at_full_size(folder: Path) -> None:
    """Runtimes' own normalisations add up millions of pixels in single precision."""
    model = onnx.load(folder / "local.onnx")
    kinds = [node.op_type for node in model.graph.node]
    assert not {"InstanceNormalization", "GroupNormalization", "BatchNormalization"} & set(kinds)
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    means = [values[node.input[1]].tolist() for node in model.graph.node if node.op_type == "ReduceMean"]
    assert sorted(means) == 26 * [[2]] + 26 * [[3]]
    resized = [node for node in model.graph.node if node.op_type == "Resize"]
    assert len(resized) == 4
    shapes = [tuple(tensor.dims) for tensor in model.graph.initializer]
    assert {(32, channels, 1, 1) for channels in (8, 16, 32)} <= set(shapes)
    assert not [shape for shape in shapes if shape[1:2] == (8 + 16 + 32,)]
