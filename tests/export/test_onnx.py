"""The ONNX target: what stands in an artifact, and that every runtime answers as torch does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from torch import nn

import sdk
from export import graphs, parity
from export.freeze import freeze
from export.weights import FILE
from sdk.contract import Contract
from sdk.progress import Progress
from training import models
from training.nn.hrnet import HighResolutionModule
from training.synthesis.life import LOWEST_QUALITY

Exported = tuple[Path, Contract]
GRAPHS = ("model.onnx", "shrink.onnx", "local.onnx", "rest.onnx", "locate.onnx")


def test_directory_holds_what_the_contract_lists(exported: Exported) -> None:
    folder, contract = exported
    assert {path.name for path in folder.iterdir()} == {*contract.sha256, "contract.json"}
    assert {graph.file for graph in contract.graphs.values()} == {*GRAPHS, "model.ops.onnx"}
    assert sdk.load(folder).artifact.contract == contract


def test_the_contract_tells_the_lowest_quality_of_training(exported: Exported) -> None:
    folder, _ = exported
    assert json.loads((folder / "contract.json").read_text())["minimum_quality"] == LOWEST_QUALITY


def test_parity_table_covers_both_backends_and_the_whole_graph(exported: Exported) -> None:
    _, contract = exported
    rows = [row for row in contract.parity if row.precision == "f32" and row.backend != "torch"]
    assert {row.backend for row in rows} == {"onnxruntime", "openvino"}
    assert {row.case.split(" in ")[0] for row in rows if " in " in row.case} == {"model.onnx", "model.ops.onnx"}
    assert max(max(row.max_abs_heatmap, row.max_abs_score) for row in rows) <= 1e-4


@pytest.mark.parametrize("file", GRAPHS)
def test_portable_graphs_have_standard_operators_only(exported: Exported, file: str) -> None:
    model = onnx.load(exported[0] / file, load_external_data=False)
    onnx.checker.check_model(exported[0] / file)
    assert not model.functions
    assert {node.domain for node in model.graph.node} <= {""}


def test_operators_of_ours_keep_their_nodes_and_bodies(exported: Exported) -> None:
    model = onnx.load(exported[0] / "model.ops.onnx", load_external_data=False)
    assert {function.name for function in model.functions} == {"AreaShrink", "SCCMAttention"}
    (choice,) = (node for node in model.graph.node if node.op_type == "If")
    then = next(attribute.g for attribute in choice.attribute if attribute.name == "then_branch")
    assert sum(node.op_type == "SCCMAttention" for node in then.node) == 4


def test_weights_are_stored_once_as_halves(exported: Exported) -> None:
    folder, _ = exported
    size = (folder / FILE).stat().st_size
    places = {}
    for file in (*GRAPHS, "model.ops.onnx"):
        for tensor in onnx.load(folder / file, load_external_data=False).graph.initializer:
            if tensor.external_data:
                entry = {item.key: item.value for item in tensor.external_data}
                assert entry["location"] == FILE
                assert tensor.data_type == onnx.TensorProto.FLOAT16
                places[entry["offset"]] = int(entry["length"])
    assert size - 64 * len(places) < sum(places.values()) <= size
    assert sum((folder / file).stat().st_size for file in GRAPHS) < 1e6


def test_no_coordinate_is_computed_in_floating_point(exported: Exported) -> None:
    """Gather indices come from int64 arithmetic: no Cast to an integer from a float anywhere upstream."""
    model = onnx.shape_inference.infer_shapes(onnx.load(exported[0] / "rest.onnx"))
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}
    makers = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        to = next((attribute.i for attribute in node.attribute if attribute.name == "to"), None)
        if node.op_type == "Cast" and to == onnx.TensorProto.INT64:
            assert kinds.get(node.input[0]) not in floats, f"{node.name} of {makers[node.input[0]].op_type}"


def test_localisation_runs_only_from_min_score_on(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(exported[0] / "model.onnx", providers=["CPUExecutionProvider"])
    frame = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)
    feeds = {"frame": frame, "working_size": np.array(0, np.int64)}
    score, full = session.run(None, feeds | {"min_score": np.array(0, np.float32)})
    assert full.shape == (2, 40, 50)
    _, empty = session.run(None, feeds | {"min_score": np.array(score.max() + 1e-3, np.float32)})
    assert empty.shape == (0, 40, 50)


def test_openvino_reads_the_model_where_onnx_cannot_be_imported(exported: Exported) -> None:
    code = (
        "import sys; sys.modules['onnx'] = sys.modules['torch'] = None\n"
        "import openvino, numpy as np\n"
        "model = openvino.Core().compile_model(sys.argv[1], 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})\n"
        "feeds = {'working_size': np.array(0), 'min_score': np.array(0, np.float32)}\n"
        "feeds['frame'] = np.zeros((1, 40, 50, 3), np.uint8)\n"
        "print(model(feeds)['heatmap'].shape)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, exported[0] / "model.onnx"], capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == "(1, 40, 50)", run.stderr


@pytest.fixture(scope="module")
def tiled(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact with tiles as small as the halo allows."""
    copy = tmp_path_factory.mktemp("tiled") / "small"
    shutil.copytree(exported[0], copy)
    content = json.loads((copy / "contract.json").read_text())
    side = content["plan"][1]["tiling"]["align"]
    content["plan"][1]["tiling"] |= {"height": side, "width": side, "extents": {}}
    (copy / "contract.json").write_text(json.dumps(content))
    return copy


@pytest.mark.parametrize("size", [(61, 83), (33, 46), (90, 5)])
def test_tiles_give_what_the_whole_gives(
    exported: Exported, tiled: Path, photographs: list[np.ndarray], size: tuple[int, int]
) -> None:
    frame = np.ascontiguousarray(photographs[0][: size[0], : size[1]])
    answers, counts = [], []
    for folder in (exported[0], tiled):
        told: list[Progress] = []
        # More threads would cut the whole into bands.
        with sdk.load(folder, precision="f32", working_size=0, threads=1) as analyzer:
            answers.append(analyzer.analyze(frame, progress=told.append))
        counts.append(max(each.total for each in told if each.stage == "local"))
    whole, pieces = answers
    assert counts[0] == 1
    assert counts[1] > 4
    assert abs(whole.score - pieces.score) <= 1e-5
    assert np.abs(whole.heatmap - pieces.heatmap).max() <= 1e-5


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 5), (33, 47)])
def test_thin_frames_agree_between_runtimes(
    exported: Exported, photographs: list[np.ndarray], size: tuple[int, int]
) -> None:
    frame = np.resize(photographs[0], (300, 300, 3))[: size[0], : size[1]]
    answers = [
        sdk.load(exported[0], backend=backend, precision="f32", working_size=128).analyze(frame)
        for backend in parity.BACKENDS
    ]
    apart = 2 * parity.BUDGET  # each may be its budget away from torch, in opposite directions
    assert abs(answers[0].score - answers[1].score) <= apart
    assert np.abs(answers[0].heatmap - answers[1].heatmap).max() <= apart


@pytest.mark.slow
def test_early_exit_exports_no_more_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a trunk that only fuses its branches, and no local graph: both take long to trace and hold no exit."""
    detector = models.create("psccnet-lite", grid=32, finest_mask=3)
    for module in detector.modules():
        if isinstance(module, HighResolutionModule):
            module.branches = nn.ModuleList(nn.Identity() for _ in module.branches)
    monkeypatch.setattr(graphs, "_local", lambda *_: None)
    parts = graphs.stages(freeze(detector))
    assert [value.name for value in parts["locate"].graph.input] == ["f3", "f4", "height", "width"]
    assert [value.name for value in parts["rest"].graph.output] == ["score", "f3", "f4"]
    assert sum(node.op_type == "SCCMAttention" for node in parts["locate"].graph.node) == 2
