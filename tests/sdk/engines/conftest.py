"""A simulated GPU with TensorRT, and an artifact with graphs for engines."""

from __future__ import annotations

import dataclasses
import importlib.machinery
import itertools
import sys

import pytest

from sdk import artifact
from sdk.backends import tensorrt
from sdk.engines import gpu, onepiece
from tests.sdk import toy
from tests.sdk.engines.simulated import Gpu, TensorRT


@pytest.fixture
def device(monkeypatch):
    """The GPU, under the name of NVIDIA's bindings."""
    made = Gpu()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", made.module())
    monkeypatch.setattr(gpu, "count", lambda: 1)
    monkeypatch.setattr(gpu, "target", lambda: "sm_90")
    return made


@pytest.fixture
def package(device, monkeypatch, tmp_path):
    """TensorRT on it, and a cache of its own."""
    made = TensorRT(device)
    module = made.module()
    module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


@pytest.fixture
def artifact_path(tmp_path):
    """The toy with graphs for engines: files that only the simulation reads."""
    folder = toy.build(tmp_path / "toy", working_size=64, precisions=("f32", "fp16"))
    graphs = dict(artifact.read(folder).contract.graphs)
    for precision, plugins in itertools.product(("f32", "fp16"), (False, True)):
        for graph, described in onepiece.GRAPHS.items():
            name = onepiece.named(graph, precision, plugins=plugins)
            (folder / f"{name}.onnx").write_bytes(name.encode())
            graphs[name] = dataclasses.replace(described, file=f"{name}.onnx")
    toy.seal(folder, dataclasses.replace(artifact.read(folder).contract, graphs=graphs))
    return folder


@pytest.fixture
def session(package, artifact_path):
    opened = tensorrt.open(artifact.read(artifact_path), "native", device="cuda", precision="fp16", threads=None)
    yield opened
    opened.close()
