"""NVIDIA's own parser and builder accept every graph that is exported, for frames up to 4K lying and standing.

tensorrt-rtx builds on machines without a GPU. It is run in a process of its own: where it fails it may end that.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import inliner

from export import graphs as export_graphs
from export.engines import gate, graphs
from export.engines import thaw as thawing
from export.engines.thaw import thaw
from export.freeze import freeze, settle
from export.targets import tensorrt
from kernels import cuda_library
from sdk import artifact
from sdk.engines import kept, onepiece
from sdk.engines.profile import Profile
from sdk.engines.trt_backend import Kind
from sdk.errors import ArtifactInvalid, BadSetting, ParityFailed
from tests.export import tiny
from training import models

SHIPPED = artifact.SHIPPED / artifact.DEFAULT
needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")


def built(repository: Path, *files: Path) -> list[dict]:
    """What came of building each file; a process that was ended answers for fewer."""
    program = Path(__file__).with_name("rtx_build.py")
    environment = os.environ | {"PYTHONPATH": str(repository)}
    done = subprocess.run(
        [sys.executable, program, *files], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(answers) == len(files), done.stderr[-2000:]
    return answers


def frozen(name: str, **settings: object) -> object:
    torch.manual_seed(0)
    detector = models.create(name, **settings)
    settle(detector, [torch.randint(0, 256, (2, 64, 64, 3)).to(torch.uint8)])
    return freeze(detector)


def saved(detector: object, folder: Path, precision: str) -> list[Path]:
    return inlined(graphs.engine_graphs(tensorrt.typed(detector, precision)), folder, precision)


def inlined(models: dict[str, onnx.ModelProto], folder: Path, precision: str) -> list[Path]:
    files = []
    for graph, model in models.items():
        files.append(folder / f"{onepiece.named(graph, precision)}.onnx")
        onnx.save(inliner.inline_local_functions(model), files[-1])
    return files


def assert_answers(detector: object, files: list[Path], precision: str, frame: np.ndarray | None = None) -> None:
    """The native and the shrinking graph answer in ONNX Runtime as ``detector`` does."""
    if frame is None:
        frame = np.random.default_rng(5).integers(0, 256, (1, 75, 97, 3), dtype=np.uint8)
    native, shrunk = (onnxruntime.InferenceSession(file) for file in files)
    for session, feeds, size in ((native, {}, 0), (shrunk, {"working_size": np.array(48, np.int64)}, 48)):
        score, heatmap = session.run(["score", "heatmap"], {"frame": frame, **feeds})
        with torch.inference_mode():
            truth, level = detector(torch.from_numpy(frame.copy()), size)
        np.testing.assert_allclose(heatmap, truth.numpy(), atol=gate.budget(precision))
        np.testing.assert_allclose(score, level.numpy(), atol=gate.budget(precision))


@pytest.fixture(scope="module")
def small_mantranet():
    return frozen("mantranet", body="lite", channels=8, windows="3-5")


@pytest.fixture(scope="module")
def small_traced(small_mantranet):
    """In f32, our operators as nodes with their bodies."""
    return graphs.engine_graphs(small_mantranet)


@pytest.fixture(scope="module")
def small_graphs(small_mantranet, small_traced, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mantranet")
    return {"f32": inlined(small_traced, folder, "f32"), "fp16": saved(small_mantranet, folder, "fp16")}


@pytest.fixture(scope="module")
def small_plugin_graphs(small_traced, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    files = {}
    for graph, model in small_traced.items():
        files[graph] = folder / f"{onepiece.named(graph, 'f32', plugins=True)}.onnx"
        onnx.save(graphs.with_plugins(model), files[graph])
    return files


@needs_rtx
def test_every_stage_of_every_shipped_artifact_builds(repository):
    stages = {}
    for name in artifact.models():
        shipped = artifact.read(artifact.find(name))
        stages |= {
            shipped.contract.sha256[graph.file]: shipped.path / graph.file  # the one that shrinks is in all of them
            for kind, graph in shipped.contract.graphs.items()
            if kind not in {"whole", "ops"}
        }
    answers = built(repository, *stages.values())
    assert [answer.get("problem") for answer in answers] == [None] * len(stages)
    assert {answer["file"] for answer in answers} >= {"shrink.onnx", "local.onnx", "rest.onnx", "locate.onnx"}


@needs_rtx
@pytest.mark.xfail(reason="tensorrt-rtx 1.7 fails inside on an If that reads a map", strict=True)
def test_the_whole_graph_with_its_branch_builds(repository):
    (answer,) = built(repository, SHIPPED / "model.onnx")
    assert "problem" not in answer


@needs_rtx
@pytest.mark.parametrize("precision", ["f32", "fp16"])
def test_mantranet_builds_in_one_piece(repository, small_graphs, precision):
    answers = built(repository, *small_graphs[precision])
    assert [answer.get("problem") for answer in answers] == [None, None]


@needs_rtx
@pytest.mark.slow
@pytest.mark.parametrize("name", artifact.models())
def test_what_ships_builds_in_one_piece(repository, tmp_path, name):
    """Of its own weights, as ``python -m export tensorrt`` makes the graphs."""
    answers = built(repository, *saved(thaw(artifact.read(artifact.find(name))), tmp_path, "fp16"))
    assert [answer.get("problem") for answer in answers] == [None, None]


@needs_rtx
@pytest.mark.slow
def test_psccnet_builds_in_one_piece(repository, tmp_path):
    """The paper's model, fresh, in fp16: in f32 its lighter variant is built above, stage by stage."""
    answers = built(repository, *saved(frozen("psccnet"), tmp_path, "fp16"))
    assert [answer.get("problem") for answer in answers] == [None, None]


@needs_rtx
def test_a_graph_that_cannot_be_read_is_a_sentence(repository, tmp_path):
    node = onnx.helper.make_node("Det", ["frame"], ["d"])
    value = onnx.helper.make_tensor_value_info("frame", onnx.TensorProto.FLOAT, [1, 2, 2])
    output = onnx.helper.make_tensor_value_info("d", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], "det", [value], [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "det.onnx")
    (answer,) = built(repository, tmp_path / "det.onnx")
    assert answer["problem"].startswith("tensorrt_rtx cannot read det.onnx: ")


@pytest.mark.parametrize("precision", ["f32", "fp16"])
def test_one_piece_answers_as_the_model_does(small_mantranet, small_graphs, photographs, precision):
    """In ONNX Runtime, at an odd size, shrunk or not; a CPU computes fp16 in float32, so both may be judged as such."""
    assert_answers(small_mantranet, small_graphs[precision], precision, frame=photographs[0][None, :75, :97])


@pytest.mark.parametrize("precision", ["f32", "fp16"])
def test_answers_are_float32_and_arithmetic_is_what_is_written(small_graphs, precision):
    model = onnx.load(small_graphs[precision][0])
    assert {output.type.tensor_type.elem_type for output in model.graph.output} == {onnx.TensorProto.FLOAT}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    convs = [weights[node.input[1]] for node in model.graph.node if node.op_type == "Conv" and node.input[1] in weights]
    on_pixels, others = ({w.data_type for w in convs if (w.dims[1] == 3) == first} for first in (True, False))
    assert on_pixels == {onnx.TensorProto.FLOAT}
    assert others == {onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.FLOAT}
    assert not model.functions


def test_a_graph_for_plugins_has_nodes_of_ours_and_no_bodies(small_mantranet, small_traced, small_plugin_graphs):
    """With the bodies given back, which are what a plugin is held to, it answers as the model does."""
    for name, file in small_plugin_graphs.items():
        model = onnx.load(file)
        assert [(node.op_type, node.domain) for node in model.graph.node if node.domain] == [("ZPool2D", "forensics")]
        assert not model.functions
        model.functions.extend(small_traced[name].functions)
        onnx.save(model, file.with_suffix(".whole"))
    assert_answers(small_mantranet, [file.with_suffix(".whole") for file in small_plugin_graphs.values()], "f32")


def test_there_is_a_plugin_for_every_operator_that_is_left_a_node():
    shells = "".join(file.read_text(encoding="utf-8") for file in cuda_library.plugins())
    assert set(re.findall(r'kName = "(\w+)"', shells)) == graphs.PLUGINS


def test_a_model_without_such_operators_has_no_graph_for_plugins():
    with pytest.raises(BadSetting, match="has no operator that there is a plugin for\n  -> leave out --plugins"):
        graphs.with_plugins(export_graphs.shrink())


@needs_rtx
def test_without_plugins_a_graph_for_plugins_is_refused_by_the_operators_name(repository, small_plugin_graphs):
    for answer in built(repository, *small_plugin_graphs.values()):
        problem = answer["problem"]
        assert re.match(r"tensorrt_rtx cannot read \w+\.plugins\.onnx: ZPool2D node_.*Plugin not found", problem)


def test_an_artifact_gives_its_model_back(exported, photographs):
    """Weights, calibration and settings: the torch model that is made of an artifact answers as the artifact does."""
    folder, _ = exported
    loaded = artifact.read(folder)
    row = gate.thawed_row(thaw(loaded), loaded, photographs)
    assert max(row.max_abs_heatmap, row.max_abs_score) <= row.budget


def test_a_weight_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(thawing, "_stored", lambda artifact: {})
    with pytest.raises(ArtifactInvalid, match=r"does not hold these weights of psccnet-lite .*: trunk\.conv1\.weight"):
        thaw(artifact.read(SHIPPED))


def test_export_adds_graphs_over_the_same_weights_and_writes_nothing_it_may_not(
    exported, small_graphs, photographs, tmp_path, monkeypatch
):
    """With the graphs of a small model in place of a trace of the real one, which is tested above."""
    loaded = artifact.read(exported[0])
    small = [onnx.load(file) for file in small_graphs["fp16"]]
    monkeypatch.setattr(tensorrt, "engine_graphs", lambda detector: dict(zip(onepiece.GRAPHS, small, strict=True)))
    written = tensorrt.export(loaded, tmp_path / "new", precisions=["fp16"], photographs=photographs)
    added = set(written.contract.sha256) - set(loaded.contract.sha256)
    assert added == {"native.fp16.onnx", "shrunk.fp16.onnx"}
    before, after = ((place / "weights.bin").read_bytes() for place in (loaded.path, written.path))
    assert after.startswith(before)
    for name in ("native", "shrunk"):
        session = onnxruntime.InferenceSession(written.path / f"{name}.fp16.onnx")
        assert [value.name for value in session.get_outputs()] == ["score", "heatmap"]
    monkeypatch.setattr(
        gate, "thawed_row", lambda *_: dataclasses.replace(loaded.contract.parity[0], max_abs_score=1.0)
    )
    with pytest.raises(ParityFailed, match="differ from the torch model"):
        tensorrt.export(loaded, tmp_path / "other", precisions=["f32"], photographs=photographs)
    assert not (tmp_path / "other").exists()


def test_export_adds_graphs_for_plugins_beside_those_that_need_none(
    exported, small_traced, photographs, tmp_path, monkeypatch
):
    monkeypatch.setattr(tensorrt, "engine_graphs", lambda detector: small_traced)
    monkeypatch.setattr(gate, "thawed_row", lambda frozen, artifact, _: artifact.contract.parity[0])
    settings = {"precisions": ["f32"], "photographs": photographs}
    plain = tensorrt.export(artifact.read(exported[0]), tmp_path / "one", **settings)
    assert "native.plugins" not in plain.contract.graphs
    both = tensorrt.export(plain, plain.path, plugins=True, **settings)
    assert set(both.contract.sha256) - set(plain.contract.sha256) == {"native.plugins.onnx", "shrunk.plugins.onnx"}
    assert {name: both.contract.sha256[name] for name in plain.contract.sha256} == plain.contract.sha256
    assert kept.source(both, "native.plugins") != kept.source(both, "native") == kept.source(plain, "native")
    assert tensorrt.export(both, both.path, plugins=True, **settings) is both
    assert artifact.problems(both) == []
    graph = onnx.load(both.path / "native.plugins.onnx").graph  # with its weights, which lie where the others' do
    assert "ZPool2D" in {node.op_type for node in graph.node}


def test_the_gate_tries_the_ends_of_a_profile_and_judges_what_is_no_number(photographs):
    profile = Profile(smallest=(64, 64), usual=(75, 97), largest=(128, 160))
    detector = frozen("mantranet", body="lite", channels=8, windows="3")

    def wrong(frame, size):
        return np.full(frame.shape[:2], np.nan, np.float32), 0.5

    rows = gate.rows(wrong, detector, photographs, backend="tensorrt", precision="fp16", profile=profile)
    assert [row.size for row in rows] == [(64, 64), (75, 97), (128, 160)]
    assert {row.max_abs_heatmap for row in rows} == {1.0}


class Engines:
    """In place of the backend: sessions that answer as ``detector`` does, but for the ``turned`` heatmap of one."""

    def __init__(self, detector, turned: str | None = None) -> None:
        self.detector, self.turned, self.built, self.dropped, self.closed = detector, turned, [], [], 0

    def kind(self, *, plugins: bool) -> SimpleNamespace:
        self.plugins = plugins
        return SimpleNamespace(name=Kind(plugins=plugins).name, open=self.open)

    def open(self, artifact, graph, **_: object) -> SimpleNamespace:
        def run(feeds):
            with torch.inference_mode():
                heatmap, score = self.detector(torch.from_numpy(feeds["frame"]), int(feeds.get("working_size", 0)))
            # Smaller than the budget, larger than what separates one pixel from the next.
            off = 1e-4 * (np.arange(heatmap.shape[2]) % 2) if graph == self.turned else 0
            return {"heatmap": (heatmap.numpy() + off).astype(np.float32), "score": score.numpy()}

        def close() -> None:
            self.closed += 1

        def secure(profile, shapes) -> str:
            self.built.append(graph)
            return graph

        engine = SimpleNamespace(start=lambda feeds: SimpleNamespace(result=lambda: run(feeds)))
        return SimpleNamespace(secure=secure, engine=lambda _: engine, close=close, discard=self.dropped.append)


@pytest.mark.parametrize("plugins", [False, True])
@pytest.mark.parametrize("turned", [None, "native", "shrunk"])
def test_a_fall_of_the_auc_on_an_evaluation_folder_drops_the_engine(photographs, monkeypatch, turned, plugins):
    detector = tiny.detector()
    frame = photographs[0][:64, :96].copy()
    with torch.inference_mode():
        heatmap = detector(torch.from_numpy(frame)[None])[0][0].numpy()
    pairs = [(frame, heatmap > np.median(heatmap)), (photographs[1][:30, :30], np.eye(30, dtype=bool))]
    monkeypatch.setattr(tensorrt, "thaw", lambda _: detector)
    engines = Engines(detector, turned)
    monkeypatch.setattr(tensorrt, "Kind", engines.kind)
    monkeypatch.setattr(gate, "LARGEST_FALL", 1e-4)
    settings = {"photographs": photographs, "profile": Profile.only(64, 96), "plugins": plugins}
    settings["precision"] = "fp16"
    loaded = artifact.read(SHIPPED)
    if turned:
        with pytest.raises(ParityFailed, match="pixel AUC on the evaluation folder is"):
            tensorrt.build(loaded, evaluation=pairs, **settings)
    else:
        rows = tensorrt.build(loaded, evaluation=pairs, **settings)[1]
        assert [row.backend for row in rows] == 2 * ["tensorrt_plugins" if plugins else "tensorrt"]
    assert engines.dropped == ([turned] if turned else [])
    assert engines.plugins == plugins
    assert engines.closed == len(engines.built) == (1 if turned == "native" else 2)


@pytest.mark.parametrize(
    ("profile", "tried"),
    [
        (Profile(), [(64, 64), (1080, 1920)]),
        (Profile.only(720, 1280), [(720, 1280)]),
        (Profile(usual=(500, 300), largest=(3000, 400)), [(64, 64), (500, 300), (1080, 400)]),
        (Profile.only(4000, 6000), [(4000, 6000)]),
    ],
)
def test_the_gate_tries_only_frames_that_the_engine_takes(profile, tried):
    assert gate.sizes(profile) == tried
    assert all(profile.admits((1, *sides, 3), 0) for sides in tried)
