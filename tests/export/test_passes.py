"""ManTra-Net as an artifact: one pass, two passes and the whole graph answer as torch does."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

import sdk
from export import artifact
from export.commands import main
from export.freeze import freeze
from export.targets import onnx as target
from sdk import passes
from tests.training import test_keras_weights as keras
from training import models
from training.card import Card
from training.nn.detector import Detector
from training.nn.vgg import BODIES

SIZES = {0: ((1, 1), (20, 121)), 3: ((5, 2), (27, 4801))}
"""Heights and widths of frames, px, by halvings: with as many the second is run in several tiles."""
TILES = {"height": 24, "width": 24, "extents": {}}


@pytest.fixture(scope="module", params=[0, 3], ids=["whole", "halved thrice"])
def frozen(request: pytest.FixtureRequest) -> Detector:
    """A network of the usual depth and few channels, with windows that some of the sizes hold."""
    torch.manual_seed(0)
    settings = {"body": "narrow", "windows": "5-9", "magnitude": False, "halvings": request.param}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BODIES, "narrow", (8,) * 11)
        detector = models.create("mantranet", **settings).eval()
    detector.net.zpool.norm.running_var.uniform_(1e-4, 1e-2)
    return freeze(detector)


@pytest.fixture(scope="module")
def folder(frozen: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact, its tiles as small as can be."""
    files, graphs = target._files(frozen)
    card = Card(working_size=0, thresholds={"0": {"photographs": {"0.01": 0.9, "0.05": 0.8}}})
    contract = target._contract(frozen, name="small", model="mantranet", card=card, graphs=graphs)
    plan = tuple(
        dataclasses.replace(step, tiling=dataclasses.replace(step.tiling, **TILES)) if step.tiling else step
        for step in contract.plan
    )
    contract = dataclasses.replace(contract, plan=plan, sha256=target._sha256(files))
    written = tmp_path_factory.mktemp("artifacts") / "small"
    artifact.write(written, files, contract)
    return written


@pytest.mark.parametrize("stored", [passes.STORED, 0], ids=["map kept", "map made again"])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_two_passes_answer_as_torch_does(
    folder: Path, frozen: Detector, stored: int, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "STORED", stored)
    rng = np.random.default_rng(1)
    with sdk.load(folder, backend=backend, precision="f32") as analyzer:
        for size in SIZES[frozen.net.config.halvings]:
            frame = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            with torch.inference_mode():
                heatmap, score = frozen(torch.from_numpy(frame)[None])
            analysis = analyzer.analyze(frame)
            assert np.abs(analysis.heatmap - heatmap[0].numpy()).max() < 1e-5
            assert analysis.score == pytest.approx(float(score), abs=1e-5)


def test_the_first_layer_is_in_full_precision_whatever_the_rest(folder: Path) -> None:
    contract = sdk.load(folder, backend="onnxruntime").artifact.contract
    (step,) = (step for step in contract.plan if step.passes)
    assert step.graphs == ("first", "local", "answer")
    assert [name for name, graph in contract.graphs.items() if graph.exact] == ["shrink", "first"]


def test_the_node_and_its_body_have_the_settings(folder: Path) -> None:
    model = onnx.load(folder / "model.ops.onnx", load_external_data=False)
    (node,) = (node for node in model.graph.node if node.op_type == "ZPool2D")
    settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    assert (settings["windows"], settings["magnitude"]) == ([5, 9], 0)
    (body,) = (function for function in model.functions if function.name == "ZPool2D")
    assert sum(node.op_type == "AveragePool" for node in body.node) == 4
    assert not [node for node in body.node if node.op_type == "Abs"]


def test_moments_do_not_depend_on_the_pieces(rng: np.random.Generator) -> None:
    x = 1000 + rng.standard_normal((2, 30, 20, 3))
    gathered = passes.Moments()
    for piece in (x[:, :7], x[:, 7:8, :3], x[:, 7:8, 3:], x[:, 8:]):
        gathered.add(piece.astype(np.float32))
    exact = x.astype(np.float32).astype(np.float64)
    found = gathered.arrays()
    np.testing.assert_allclose(found["mean"], exact.mean((1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found["variance"], exact.var((1, 2)), rtol=1e-9)


def test_the_command_takes_the_authors_keras_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What follows a checkpoint of ours follows theirs: the same call with another detector."""
    asked = []
    monkeypatch.setattr(
        target, "export", lambda *given, **how: asked.append((*given, how)) or SimpleNamespace(parity=[])
    )
    written = keras.write(tmp_path / "weights.h5", keras.published_layout(4))
    command = ["onnx", "mantranet", "--out", str(tmp_path / "artifact"), "--checkpoint"]
    assert main([*command, str(tmp_path / "weights.h5")]) == 0
    ((detector, folder, how),) = asked
    assert (folder, how["model"], "weights" in how["required"]) == (tmp_path / "artifact", "mantranet", True)
    head = detector.net.head.weight.detach().numpy()
    np.testing.assert_array_equal(head, written["pred/kernel"].transpose(3, 2, 0, 1))
    keras.write(tmp_path / "other.h5", {"dense": {"kernel": (3, 4)}})
    assert main([*command, str(tmp_path / "other.h5")]) == 2
    assert "other.h5 holds no weights of mantranet: it lacks " in capsys.readouterr().err
