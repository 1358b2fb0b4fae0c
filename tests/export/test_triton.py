"""The Triton repository: its configuration is one by Triton's own schema, and its ONNX answers as the SDK does."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import sdk
from export import parity
from export.targets import triton
from sdk import artifact as artifacts
from sdk.engines import kept, onepiece
from sdk.engines.cache import Cache, Key
from sdk.engines.profile import Profile
from sdk.errors import ArtifactInvalid, BadSetting

pytest.importorskip("google.protobuf", reason="protobuf is not installed")
from google.protobuf import text_format

DTYPES = {"TYPE_UINT8": np.uint8, "TYPE_FP32": np.float32}


@pytest.fixture(scope="module")
def schema():
    """Triton's model_config.proto, as its client ships it."""
    found = importlib.util.find_spec("tritonclient")
    if found is None:
        pytest.skip("tritonclient is not installed")
    file = Path(found.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)  # its package would ask for gRPC
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def artifact(exported):
    return artifacts.read(exported[0])


@pytest.fixture(scope="module")
def repository(artifact, tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton") / "models"
    serving = triton.Serving(batch=4, warmup=(64, 96))
    assert triton.export(artifact, folder, serving=serving, cache=Cache(folder / "none")) == [folder / "small"]
    return folder


def config(schema, folder: Path):
    return text_format.Parse((folder / "config.pbtxt").read_text(), schema.ModelConfig())


def dtype(schema, tensor) -> type:
    return DTYPES[schema.DataType.Name(tensor.data_type)]


def test_config_is_one_by_the_schema_and_says_what_was_asked(schema, repository):
    found = config(schema, repository / "small")
    assert (found.name, found.backend, found.max_batch_size) == ("small", "onnxruntime", 4)
    assert found.HasField("dynamic_batching")
    assert found.dynamic_batching.max_queue_delay_microseconds == 5000
    assert [warmup.batch_size for warmup in found.model_warmup] == [1, 4]
    assert all(list(warmup.inputs["frame"].dims) == [64, 96, 3] for warmup in found.model_warmup)
    assert (repository / "small" / "1" / found.default_model_filename).is_file()


@pytest.mark.parametrize("count", [1, 4])
def test_onnx_called_as_triton_calls_it_answers_as_the_sdk(schema, repository, artifact, photographs, count):
    """The server stacks frames of one size, names and types by the configuration, and splits what comes out."""
    terms = config(schema, repository / "small")
    session = onnxruntime.InferenceSession(
        repository / "small" / "1" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    assert [each.name for each in session.get_inputs()] == [each.name for each in terms.input] == ["frame"]
    frames = np.stack(parity.frames(photographs, [(150, 97)] * count))
    given = {each.name: frames.astype(dtype(schema, each)) for each in terms.input}
    outputs = dict(
        zip((each.name for each in terms.output), session.run([o.name for o in terms.output], given), strict=True)
    )
    for tensor in terms.output:
        dims = list(tensor.reshape.shape) if tensor.HasField("reshape") else list(tensor.dims)
        shape = [count, *(extent if dim == -1 else dim for dim, extent in zip(dims, (150, 97), strict=False))]
        assert (outputs[tensor.name].dtype, list(outputs[tensor.name].shape)) == (dtype(schema, tensor), shape)
    with sdk.load(artifact.path, backend="onnxruntime", precision="f32", threads=1) as analyzer:
        expected = analyzer.analyze_batch(list(frames))
    assert analyzer.working_size == 128  # below the frames' long side: the shrinking is built in, too
    np.testing.assert_allclose(outputs["score"], [each.score for each in expected], atol=parity.BUDGET)
    np.testing.assert_allclose(outputs["heatmap"], [each.heatmap for each in expected], atol=parity.BUDGET)


def test_another_working_size_is_another_answer(artifact, repository, tmp_path, photographs):
    (native,) = triton.export(artifact, tmp_path, working_size=0, cache=Cache(tmp_path / "none"))
    frame = parity.frames(photographs, [(150, 97)])[0][None]
    files = (repository / "small" / "1" / "model.onnx", native / "1" / "model.onnx")
    sessions = [onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]) for file in files]
    shrunk, whole = (session.run(["heatmap"], {"frame": frame})[0] for session in sessions)
    with sdk.load(artifact.path, backend="onnxruntime", working_size=0, threads=1) as analyzer:
        np.testing.assert_allclose(whole[0], analyzer.analyze(frame[0]).heatmap, atol=parity.BUDGET)
    assert np.abs(shrunk - whole).max() > parity.BUDGET


def test_manifest_holds_the_digest_of_every_file(repository, artifact):
    folder = repository / "small"
    manifest = json.loads((folder / triton.MANIFEST).read_text())
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    del files[triton.MANIFEST]
    assert manifest["sha256"] == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert manifest["artifact"]["sha256"] == artifact.digest
    assert manifest["thresholds"] == dict(artifact.contract.at(128).photographs)


def with_engine_graphs(artifact):
    native = dataclasses.replace(onepiece.NATIVE, file="model.onnx")
    terms = dataclasses.replace(artifact.contract, graphs={**artifact.contract.graphs, "native": native})
    return dataclasses.replace(artifact, contract=terms)


def test_a_kept_engine_of_this_artifact_becomes_a_model_and_no_other_does(schema, artifact, tmp_path):
    artifact, cache = with_engine_graphs(artifact), Cache(tmp_path / "engines")
    profile = Profile.only(480, 640, batch=2, working_size=0)
    key = Key(
        source=kept.source(artifact, "native"), graph="native", module="tensorrt", version="10.14",
        precision="f32", profile=profile, target="sm_90",
    )  # fmt: skip
    others = {"graph": "shrunk", "module": "tensorrt_rtx", "source": "of another model", "plugins": "of a library"}
    for change in ({}, *({field: value} for field, value in others.items())):
        cache.put(dataclasses.replace(key, **change), b"a plan")
    folders = triton.export(artifact, tmp_path / "models", cache=cache)
    assert [folder.name for folder in folders] == ["small", "small-f32-sm_90-0"]
    found = config(schema, folders[1])
    assert (found.backend, found.max_batch_size, list(found.input[0].dims)) == ("tensorrt", 2, [480, 640, 3])
    assert (folders[1] / "1" / "model.plan").read_bytes() == b"a plan"
    assert json.loads((folders[1] / triton.MANIFEST).read_text())["target"] == "sm_90"


def test_writing_again_replaces_the_model_and_nothing_beside_it(artifact, tmp_path):
    (tmp_path / "another" / "1").mkdir(parents=True)
    (tmp_path / "small" / "2").mkdir(parents=True)
    triton.export(artifact, tmp_path, cache=Cache(tmp_path / "none"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "small"]
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == ["1", triton.MANIFEST, "config.pbtxt"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_plan_that_is_kept_no_more_leaves_the_repository(artifact, tmp_path, monkeypatch, can_exchange):
    if not can_exchange:
        monkeypatch.setattr(triton, "_exchanged", lambda one, other: False)
    repository = tmp_path / "models"
    triton.export(artifact, repository, cache=Cache(tmp_path / "none"))
    manifest = json.loads((repository / "small" / triton.MANIFEST).read_text())
    others = {
        "small-f32-sm_90-0": manifest,
        "small-copy": {**manifest, "artifact": {**manifest["artifact"], "name": "small-copy"}},
        "small-other": {"schema": "another program's"},
    }
    for name, told in others.items():
        (repository / name).mkdir()
        (repository / name / triton.MANIFEST).write_text(json.dumps(told))
    (repository / "small" / "left").write_bytes(b"of the one before")
    triton.export(artifact, repository, cache=Cache(tmp_path / "none"))
    assert sorted(path.name for path in repository.iterdir()) == ["small", "small-copy", "small-other"]
    assert sorted(path.name for path in (repository / "small").iterdir()) == ["1", triton.MANIFEST, "config.pbtxt"]
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_what_no_server_can_run_is_refused(artifact, tmp_path):
    with pytest.raises(BadSetting, match="batch=0"):
        triton.Serving(batch=0)
    graphs = {name: graph for name, graph in artifact.contract.graphs.items() if name != "whole"}
    halved = dataclasses.replace(artifact, contract=dataclasses.replace(artifact.contract, graphs=graphs))
    with pytest.raises(ArtifactInvalid, match="no graph from the frame to the answer"):
        triton.export(halved, tmp_path)
    assert not list(tmp_path.iterdir())
