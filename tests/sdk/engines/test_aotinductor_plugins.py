"""Packages that call our operators, on a simulated GPU: with the library they were compiled with, or not at all."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

import sdk
from kernels import cuda_library, library
from sdk import artifact, backends, doctor
from sdk.__main__ import main
from sdk.engines import aoti_backend, aoti_operators, aoti_run
from sdk.engines.aoti_backend import Kind
from sdk.engines.cache import Cache, Entry
from sdk.engines.profile import Profile
from sdk.errors import BackendUnavailable, DeviceUnavailable
from tests.sdk import toy
from tests.sdk.engines.simulated_torch import Torch

PLAIN, PLUGINS = Kind(plugins=False), Kind(plugins=True)
SIZE = Profile(smallest=(8, 8), usual=(24, 32), largest=(64, 64), working_size=0)
FRAME = np.full((1, 24, 32, 3), 255, np.uint8)
SHA256 = hashlib.sha256(b"kernels").hexdigest()
KERNELS = SimpleNamespace(zpool2d_launch=None, sccm_attention_launch=None)
NOT_BUILT = "there is no library with operators of ours for cuda: not built: python -m kernels cuda builds it"


def next_process() -> None:
    """Another process has not loaded what this one has."""
    aoti_operators.loaded.cache_clear()


@pytest.fixture(autouse=True)
def kernels(tmp_path, monkeypatch):
    """The library of CUDA kernels, as far as its bytes count; there is none for the CPU."""
    file = tmp_path / "_cuda.so"
    file.write_bytes(b"kernels")
    monkeypatch.setattr(cuda_library, "FOLDER", tmp_path)
    monkeypatch.setattr(cuda_library, "cuda", lambda: KERNELS if file.exists() else None)
    monkeypatch.setattr(library, "path", lambda: None)
    next_process()
    yield file
    next_process()


@pytest.fixture
def torch(device, monkeypatch, tmp_path):
    """A torch on it that does not come from this machine, and a cache of its own."""
    made = Torch(device)
    monkeypatch.setattr(aoti_run, "_torch", lambda: made)
    monkeypatch.setattr(aoti_backend, "_version", lambda: made.__version__)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


@pytest.fixture
def loaded(torch, tmp_path):
    return artifact.read(toy.build(tmp_path / "toy", working_size=64, precisions=("f32", "fp16")))


def put(kind: Kind, loaded: artifact.Artifact) -> Entry:
    """As the target keeps what it compiled."""
    operators = kind.operators("cuda")
    facts = {"model": loaded.name} | ({"plugins": operators.file} if operators else {})
    return Cache().put(kind.key(loaded, "fp16", SIZE, device="cuda"), b"compiled", facts=facts)


def opened(kind: Kind, loaded: artifact.Artifact):
    return kind.open(loaded, "native", device="cuda", precision="fp16", threads=None)


def test_operators_have_their_names_before_a_package_is_loaded_that_asks_for_them(loaded, torch, monkeypatch):
    said = []
    monkeypatch.setattr(aoti_operators, "import_module", said.append)
    load = torch._inductor.aoti_load_package
    torch._inductor.aoti_load_package = lambda file, **how: said.append("loaded") or load(file, **how)
    for kind in (PLAIN, PLUGINS):
        put(kind, loaded)
        np.testing.assert_array_equal(opened(kind, loaded).run({"frame": FRAME})["heatmap"], np.ones((1, 24, 32)))
    assert said == ["loaded", "kernels.sccm_attention.torch_op", "kernels.zpool2d.torch_op", "loaded"]


def test_a_package_is_of_the_library_that_was_loaded(loaded, kernels):
    assert put(PLUGINS, loaded).key.plugins == SHA256
    kernels.write_bytes(b"built again")  # which this process has not loaded
    opened(PLUGINS, loaded).run({"frame": FRAME})
    assert PLUGINS.built(loaded, device="cuda") == ("fp16",)


@pytest.mark.parametrize(("kept", "asked"), [(PLAIN, PLUGINS), (PLUGINS, PLAIN)])
def test_neither_kind_of_package_is_taken_for_the_other(loaded, kept, asked):
    put(kept, loaded)
    verb = f"{asked.verb} {loaded.path} --device cuda"
    with pytest.raises(DeviceUnavailable, match=rf"no engine is kept for 1 x 24x32[\s\S]*python -m export {verb}$"):
        opened(asked, loaded).run({"frame": FRAME})
    (reason,) = asked.reasons_against(loaded, device="cuda")
    assert reason == f"no package is compiled for this machine: python -m export {verb}"


def test_with_another_library_a_package_is_not_loaded_and_both_are_named(loaded, kernels):
    put(PLUGINS, loaded)
    next_process()
    kernels.write_bytes(b"built again")
    here = hashlib.sha256(b"built again").hexdigest()[:12]
    words = rf"there is an engine with plugins of _cuda\.so {SHA256[:12]}, here is {here}"
    with pytest.raises(
        DeviceUnavailable, match=rf"{words}\n  -> .*python -m export aotinductor --plugins {loaded.path} "
    ):
        opened(PLUGINS, loaded).run({"frame": FRAME})


def test_without_the_library_it_is_refused_by_name_with_what_to_do(loaded, kernels):
    put(PLUGINS, loaded)
    next_process()
    kernels.unlink()
    with pytest.raises(BackendUnavailable, match=rf"aotinductor_plugins on cuda: {NOT_BUILT} in a checkout"):
        sdk.load(loaded.path, backend="aotinductor_plugins")
    with pytest.raises(DeviceUnavailable, match=rf'{NOT_BUILT}[\s\S]*build it; backend="aotinductor" needs none'):
        opened(PLUGINS, loaded)


def test_plugins_are_for_who_names_them_or_compiled_nothing_else(loaded):
    put(PLUGINS, loaded)
    assert backends.choose(loaded, device="cuda").backend == "aotinductor_plugins"
    put(PLAIN, loaded)
    assert backends.choose(loaded, device="cuda").backend == "aotinductor"
    with sdk.load(loaded.path, backend="aotinductor_plugins", working_size=0) as analyzer:
        assert analyzer.analyze(FRAME[0]).runtime.backend == "aotinductor_plugins"


def test_operators_for_the_cpu_are_offered_in_the_one_precision_they_have():
    assert (PLUGINS.precisions("cpu"), PLUGINS.precisions("cuda")) == (("f32",), ("f32", "bf16", "fp16"))
    assert PLAIN.precisions("cpu") == ("f32", "bf16", "fp16")


def test_doctor_and_cache_say_which_packages_have_plugins(loaded, kernels, capsys):
    entries = [put(kind, loaded).key.digest[:12] for kind in (PLAIN, PLUGINS)]
    assert main(["cache"]) == 0
    builders = {line.split("\t")[0]: line.split("\t")[3] for line in capsys.readouterr().out.splitlines()}
    with_plugins = f"torch 2.13.0 with plugins of _cuda.so {SHA256[:12]}"
    assert builders == dict(zip(entries, ("torch 2.13.0", with_plugins), strict=True))
    engine = f"engine {entries[1]} of toy-0.1 has plugins of _cuda.so {SHA256[:12]}"
    assert doctor.plugins()[-1] == f"{engine}, which is here"
    next_process()
    kernels.unlink()
    assert doctor.plugins()[-1] == f"{engine}, which is not here: imdl cache rm {entries[1]}"
