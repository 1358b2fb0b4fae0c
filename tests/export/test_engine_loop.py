"""``python -m export tensorrt`` of an artifact that ships, then ``sdk.load`` by name: on a simulated GPU, all of it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

import sdk
from export import commands
from export.engines import commands as engines
from export.engines import gate
from export.targets import tensorrt
from export.targets.triton import plans
from sdk import artifact, doctor
from sdk.artifact import Artifact
from sdk.engines.cache import Cache
from sdk.engines.shipped import home, with_graphs
from sdk.errors import ArtifactInvalid, DeviceUnavailable
from tests.sdk import toy

pytestmark = pytest.mark.usefixtures("package")

FRAME = np.full((24, 32, 3), 51, np.uint8)
ROW = artifact.read(artifact.find()).contract.parity[0]
VERB = ["tensorrt", "toy", "--frame", "24x32", "--precision", "f32"]


def graph(name: str):
    """A graph that only the simulation reads, with one weight of its own."""
    weight = helper.make_tensor(f"{name}.w", TensorProto.FLOAT, [8], [float(len(name))] * 8)
    return helper.make_model(helper.make_graph([], name, [], [], [weight]))


class Brightness(torch.nn.Module):
    """What the simulated GPU answers, in torch."""

    def forward(self, frame: torch.Tensor, _working_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        heatmap = frame[..., 0] / 255
        return heatmap, heatmap.mean((1, 2))


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Artifact:
    """The toy, as the one artifact that ships."""
    folder = toy.build(tmp_path / "package" / "toy", precisions=("f32", "fp16"))
    monkeypatch.setattr(artifact, "SHIPPED", folder.parent)
    monkeypatch.setattr(artifact, "DEFAULT", "toy")
    monkeypatch.setattr(tensorrt, "thaw", lambda _: Brightness())
    monkeypatch.setattr(tensorrt, "typed", lambda frozen, _: frozen)
    monkeypatch.setattr(gate, "thawed_row", lambda *_: ROW)
    monkeypatch.setattr(engines, "watch", lambda _: None)  # its handler would outlive the test's stderr
    monkeypatch.setattr(tensorrt, "engine_graphs", lambda _: {name: graph(name) for name in ("native", "shrunk")})
    monkeypatch.chdir(tmp_path)
    return artifact.read(folder)


def test_what_the_verb_made_of_a_model_that_ships_is_what_load_takes_by_name(shipped, capsys):
    before = {file.name: file.read_bytes() for file in shipped.path.iterdir()}
    with pytest.raises(DeviceUnavailable, match="has no graphs for engines: python -m export tensorrt toy\n"):
        sdk.load(device="cuda")
    assert commands.main(VERB) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == str(home(shipped))
    assert 'sdk.load("toy", device="cuda") uses what was built' in said.err
    for model in (None, "toy"):
        with sdk.load(model, device="cuda", precision="f32") as analyzer:
            analysis = analyzer.analyze(FRAME)
            assert analysis.runtime.backend == "tensorrt"
            assert analyzer.artifact.digest == shipped.digest  # weights, thresholds and licence are what ships
        assert analysis.score == pytest.approx(0.2)
    assert {file.name: file.read_bytes() for file in shipped.path.iterdir()} == before
    assert "chosen: tensorrt on cuda in f32" in doctor.report()[0]
    assert {entry.key.graph for entry in Cache().entries()} == {"native", "shrunk"}
    assert [entry.key.graph for entry in plans(shipped, Cache())] == ["native"]


def test_other_graphs_go_beside_those_that_are_kept_and_nothing_goes_where_the_command_runs(shipped, tmp_path):
    assert commands.main(VERB) == 0
    assert commands.main([*VERB[:-1], "fp16"]) == 0
    assert {"native", "native.fp16"} <= set(with_graphs(shipped).contract.graphs)
    assert not (tmp_path / "artifacts").exists()


def test_without_a_build_it_says_what_builds_and_that_does(shipped, capsys):
    assert commands.main([*VERB, "--no-build"]) == 0
    assert 'so does sdk.load("toy", backend="tensorrt").warmup()' in capsys.readouterr().err
    with pytest.raises(DeviceUnavailable, match="no engine is built for this machine: python -m export tensorrt toy"):
        sdk.load(device="cuda")
    with sdk.load("toy", backend="tensorrt", precision="f32") as analyzer:
        analyzer.warmup(24, 32)
    with sdk.load(device="cuda", precision="f32") as analyzer:
        assert analyzer.analyze(FRAME).runtime.backend == "tensorrt"


def test_with_out_it_goes_there_and_is_loaded_from_there(shipped, capsys, tmp_path):
    assert commands.main([*VERB, "--out", "mine"]) == 0
    path = str(tmp_path / "mine")
    assert f'sdk.load({json.dumps(path)}, device="cuda") uses' in capsys.readouterr().err
    with sdk.load(path, device="cuda", precision="f32") as analyzer:
        assert analyzer.analyze(FRAME).runtime.backend == "tensorrt"
    with pytest.raises(DeviceUnavailable, match="has no graphs for engines"):
        sdk.load(device="cuda")


def test_graphs_of_other_weights_or_terms_and_damaged_ones_are_refused(shipped):
    assert commands.main([*VERB, "--no-build"]) == 0
    kept = with_graphs(shipped)
    weights = (kept.path / "weights.bin").read_bytes()
    (kept.path / "weights.bin").write_bytes(bytes([weights[0] ^ 1]) + weights[1:])
    words = r"cannot be used: .* is damaged: weights\.bin does not match its SHA-256: rm -r .*, then python -m export"
    with pytest.raises(DeviceUnavailable, match=words):
        sdk.load(device="cuda")
    toy.seal(kept.path, kept.contract)
    with pytest.raises(ArtifactInvalid, match=r"are not of toy-0\.1\n  -> rm -r "):
        with_graphs(shipped)
    (kept.path / "weights.bin").write_bytes(weights)
    toy.seal(kept.path, kept.contract)
    assert with_graphs(shipped).digest == kept.digest
    toy.seal(kept.path, dataclasses.replace(kept.contract, mask_threshold=0.25))
    with pytest.raises(DeviceUnavailable, match=r"are not of toy-0\.1: rm -r .*, then python -m export tensorrt toy"):
        sdk.load(device="cuda")


def test_graphs_of_what_shipped_before_serve_nothing_else(shipped):
    assert commands.main(VERB) == 0
    toy.seal(shipped.path, dataclasses.replace(shipped.contract, version="0.2"))
    with pytest.raises(DeviceUnavailable, match=r"toy-0\.2 has no graphs for engines: python -m export tensorrt toy"):
        sdk.load(device="cuda")
