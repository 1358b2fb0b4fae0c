"""Engines with our operators as plugins, on a simulated GPU: with the library they were built with, or not at all."""

from __future__ import annotations

import hashlib
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import sdk
from kernels import library
from sdk import artifact, backends, doctor
from sdk.__main__ import main
from sdk.backends import tensorrt, tensorrt_plugins
from sdk.engines import trt
from sdk.engines.cache import Cache
from sdk.engines.profile import Profile
from sdk.errors import BackendUnavailable, DeviceUnavailable

SIZE = Profile(smallest=(8, 8), usual=(24, 32), largest=(64, 64))
FRAME = np.full((1, 24, 32, 3), 255, np.uint8)
SHA256 = hashlib.sha256(b"plugins").hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where libraries are looked for; empty, and none of elsewhere is loaded, whatever other tests did."""
    found = tmp_path / "kernels"
    found.mkdir()
    monkeypatch.setattr(library, "FOLDER", found)
    monkeypatch.setattr(library, "native", lambda: None)
    return found


@pytest.fixture
def plugins(folder):
    """A library of plugins."""
    file = folder / "_tensorrt.so"
    file.write_bytes(b"plugins")
    return file


def opened(backend, path):
    return backend.open(artifact.read(path), "native", device="cuda", precision="fp16", threads=None)


def next_process() -> None:
    """Another process has not loaded what this one has."""
    trt._registered.clear()


def test_an_engine_is_of_the_library_that_was_loaded_and_says_so(artifact_path, package, plugins):
    session = opened(tensorrt_plugins, artifact_path)
    session.build(SIZE)
    np.testing.assert_array_equal(session.run({"frame": FRAME})["heatmap"], np.ones((1, 24, 32)))
    (entry,) = Cache().entries()
    assert json.loads(entry.read())["plugins"] is True
    beside = json.loads(entry.file.with_suffix(".json").read_bytes())
    assert (beside["key"]["plugins"], beside["facts"]["plugins"]) == (SHA256, "_tensorrt.so")
    plugins.write_bytes(b"built again")  # which this process has not loaded
    opened(tensorrt_plugins, artifact_path).run({"frame": FRAME})
    assert package.libraries == [str(plugins)]
    assert package.builds == 1


@pytest.mark.parametrize(("kept", "asked"), [(tensorrt, tensorrt_plugins), (tensorrt_plugins, tensorrt)])
def test_neither_kind_of_engine_is_taken_for_the_other(artifact_path, package, plugins, kept, asked):
    opened(kept, artifact_path).build(SIZE)
    session = opened(asked, artifact_path)
    verb = f"tensorrt{' --plugins' if asked is tensorrt_plugins else ''} {artifact_path}"
    with pytest.raises(DeviceUnavailable, match=rf"no engine is kept for 1 x 24x32[\s\S]*python -m export {verb}$"):
        session.run({"frame": FRAME})
    session.build(SIZE)
    assert package.builds == 2


def test_with_another_library_an_engine_is_not_loaded_and_both_are_named(artifact_path, package, plugins):
    opened(tensorrt_plugins, artifact_path).build(SIZE)
    next_process()
    plugins.write_bytes(b"built again")
    here = hashlib.sha256(b"built again").hexdigest()[:12]
    words = rf"there is an engine with plugins of _tensorrt\.so {SHA256[:12]}, here is {here}\n  -> analyzer\.warmup"
    with pytest.raises(DeviceUnavailable, match=words):
        opened(tensorrt_plugins, artifact_path).run({"frame": FRAME})


def test_without_the_library_it_is_refused_by_name_with_what_to_do(artifact_path, package, plugins):
    opened(tensorrt_plugins, artifact_path).build(SIZE)
    next_process()
    plugins.unlink()
    words = "there is no library of plugins for TensorRT: python -m kernels tensorrt ROOT builds it"
    with pytest.raises(BackendUnavailable, match=rf"tensorrt_plugins on cuda: {words}"):
        sdk.load(artifact_path, backend="tensorrt_plugins")
    with pytest.raises(DeviceUnavailable, match=rf'{words}[\s\S]*backend="tensorrt" needs none'):
        opened(tensorrt_plugins, artifact_path)


def test_plugins_are_for_who_names_them_or_built_nothing_else(artifact_path, package, plugins):
    loaded = artifact.read(artifact_path)
    choice = backends.choose(loaded)
    assert choice.against["tensorrt_plugins on cuda"] == [
        f"no engine is built for this machine: python -m export tensorrt --plugins {artifact_path}"
    ]
    with sdk.load(artifact_path, backend="tensorrt_plugins", working_size=0) as analyzer:
        analyzer.warmup(24, 32)
        assert analyzer.analyze(FRAME[0]).runtime.backend == "tensorrt_plugins"
    assert backends.choose(loaded).backend == "tensorrt_plugins"
    opened(tensorrt, artifact_path).build(SIZE)
    assert backends.choose(loaded).backend == "tensorrt"


def test_a_library_that_does_not_load_is_said_and_tried_again(artifact_path, package, plugins):
    package.loadable = False
    (reason,) = tensorrt_plugins.reasons_against(artifact.read(artifact_path), device="cuda")
    assert reason.startswith("tensorrt 11.4.0.106 does not load _tensorrt.so: python -m kernels tensorrt ROOT, with")
    package.loadable = True
    assert tensorrt_plugins.reasons_against(artifact.read(artifact_path), device="cuda") == []


def test_a_package_or_an_artifact_without_plugins_says_so(artifact_path, toy_path, package, plugins, monkeypatch):
    (reason,) = tensorrt_plugins.reasons_against(artifact.read(toy_path), device="cuda")
    assert reason == f"toy-0.1 has no graphs for engines with plugins: python -m export tensorrt --plugins {toy_path}"
    with pytest.raises(DeviceUnavailable, match="no graph native in fp16 with plugins"):
        opened(tensorrt_plugins, toy_path)
    monkeypatch.setattr(sys.modules["tensorrt"], "INetworkDefinition", SimpleNamespace())
    (reason,) = tensorrt_plugins.reasons_against(artifact.read(artifact_path), device="cuda")
    assert reason == "tensorrt 11.4.0.106 takes no plugins"


def test_a_graph_with_an_operator_that_the_library_has_not_is_refused_by_its_name(artifact_path, package):
    file = artifact.read(artifact_path).file("native.plugins")
    words = r"tensorrt cannot read native\.plugins\.onnx: ZPool2D pool: Plugin not found\n  -> .* build the library"
    with pytest.raises(DeviceUnavailable, match=words):
        trt.build(trt.load("sm_90"), file, SIZE)


def test_doctor_and_cache_say_which_engines_have_plugins(artifact_path, package, plugins, capsys):
    for backend in (tensorrt, tensorrt_plugins):
        opened(backend, artifact_path).build(SIZE)
    entries = {bool(entry.key.plugins): entry.key.digest[:12] for entry in Cache().entries()}
    assert main(["cache"]) == 0
    builders = {line.split("\t")[0]: line.split("\t")[3] for line in capsys.readouterr().out.splitlines()}
    with_plugins = f"tensorrt 11.4.0.106 with plugins of _tensorrt.so {SHA256[:12]}"
    assert builders == {entries[False]: "tensorrt 11.4.0.106", entries[True]: with_plugins}
    engine = f"engine {entries[True]} of toy-0.1 has plugins of _tensorrt.so {SHA256[:12]}"
    assert doctor.plugins() == [f"plugins for TensorRT: _tensorrt.so, SHA-256 {SHA256}", f"{engine}, which is here"]
    plugins.unlink()
    assert doctor.plugins() == [f"{engine}, which is not here: imdl cache rm {entries[True]}"]
    Cache().remove(next(entry for entry in Cache().entries() if entry.plugins))
    assert doctor.plugins() == []
