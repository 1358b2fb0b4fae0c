"""MAG as an artifact: frames of any size answer as torch does, with the mask's work alone; in tiles without a stem."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

import sdk
from export import artifact
from export.freeze import freeze
from export.targets import onnx as target
from sdk.backends import openvino
from tests.export.test_tensorrt import assert_answers, built, needs_rtx, saved
from training import models
from training.card import Card
from training.nn.deeplab import FrameNorm
from training.nn.detector import Detector

SIZES = ((1, 1), (33, 90), (96, 64))


@pytest.fixture(scope="module")
def frozen() -> Detector:
    """As mag-lite ships; running statistics, where there are some instead, are folded before any export."""
    torch.manual_seed(0)
    how = {"width": 8, "widest": 16, "depth": 3, "refined": 2, "stem": 5, "classes": 2}
    detector = models.create("mag-lite", **how)
    for norm in (part for part in detector.modules() if isinstance(part, FrameNorm)):
        norm.weight.data.uniform_(0.5, 2)
    return freeze(detector)


@pytest.fixture(scope="module")
def folder(frozen: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact."""
    files, graphs = target._files(frozen)
    contract = target._contract(frozen, name="small", model="mag-lite", card=Card(working_size=0), graphs=graphs)
    written = tmp_path_factory.mktemp("artifacts") / "small"
    artifact.write(written, files, dataclasses.replace(contract, sha256=target._sha256(files)))
    return written


@pytest.mark.parametrize("working_size", [0, 48])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_it_answers_as_torch_does(folder: Path, frozen: Detector, backend: str, working_size: int) -> None:
    rng = np.random.default_rng(1)
    with sdk.load(folder, backend=backend, precision="f32", working_size=working_size) as analyzer:
        assert not any(step.tiling for step in analyzer.artifact.contract.plan)
        for size in SIZES:
            frame = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            with torch.inference_mode():
                heatmap, score = frozen(torch.from_numpy(frame)[None], working_size)
            analysis = analyzer.analyze(frame)
            assert np.ptp(analysis.heatmap) > 0.01 or size == (1, 1)
            assert np.abs(analysis.heatmap - heatmap[0].numpy()).max() < 2e-5
            assert analysis.score == pytest.approx(float(score), abs=2e-5)


def test_without_a_stem_the_first_step_down_is_tiled() -> None:
    small = freeze(models.create("mag-lite", width=4, widest=4, depth=2, refined=0, stem=0))
    first, _ = target._body(small, {"local": SimpleNamespace(outputs=[SimpleNamespace(name="l0")])})
    assert (first.graph, first.tiling.halo, first.tiling.align, first.tiling.strides) == ("local", 4, 4, {"l0": 2})


def test_the_whole_graph_answers_as_torch_does(folder: Path, frozen: Detector) -> None:
    model = openvino.runtime().Core().compile_model(folder / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    feeds = {"working_size": np.array(40, np.int64), "min_score": np.array(0, np.float32)}
    for size in SIZES[1:]:
        frame = np.random.default_rng(2).integers(0, 256, (2, *size, 3), dtype=np.uint8)
        with torch.inference_mode():
            heatmap, score = frozen(torch.from_numpy(frame), 40)
        answer = model(feeds | {"frame": frame})
        np.testing.assert_allclose(answer["heatmap"], heatmap.numpy(), atol=2e-5)
        np.testing.assert_allclose(answer["score"], score.numpy(), atol=2e-5)


def test_one_piece_in_fp16_answers_as_torch_does(frozen: Detector, repository: Path, tmp_path: Path) -> None:
    """In ONNX Runtime, at an odd size, shrunk or not; NVIDIA's builder accepts both."""
    files = saved(frozen, tmp_path, "fp16")
    assert_answers(frozen, files, "fp16")
    if importlib.util.find_spec("tensorrt_rtx"):
        assert [answer.get("problem") for answer in built(repository, *files)] == [None, None]


@needs_rtx
def test_every_stage_is_accepted_by_nvidias_builder(folder: Path, repository: Path) -> None:
    files = [folder / f"{stage}.onnx" for stage in ("local", "rest", "locate")]
    assert [answer.get("problem") for answer in built(repository, *files)] == [None] * len(files)


def test_only_the_mask_is_computed_and_nothing_is_upsampled_before_it_is_convolved(folder: Path) -> None:
    rest = onnx.load(folder / "rest.onnx", load_external_data=False).graph
    kinds = [node.op_type for node in rest.node]
    assert kinds.count("DepthToSpace") == 3
    assert not {"BatchNormalization", "Resize"} & set(kinds)
    outputs = {value.name: value.type.tensor_type.shape.dim for value in rest.output}
    assert outputs["f1"][3].dim_value == 1
