"""What we call of TensorRT is in the real bindings, of 10, of 11 and of TensorRT-RTX; so are our calls of CUDA.

TensorRT's bindings import nine C functions of libraries that are too large for a test; here they come from a stub,
which lets them be imported and asked what is in them. Builds and runs are simulated elsewhere, or done by TensorRT-RTX.
CUDA's bindings work without a driver: every call takes its arguments, and answers that no device is there.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sdk import cuda_arrays
from sdk.engines import memory, trt, trt_run

VERSIONS = {"10": "10.16.1.11", "11": "11.4.0.106"}
CUDA = "cuda-bindings==13.0.1"
LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")
OWNERS = {
    "builder": "Builder", "network": "INetworkDefinition", "parser": "OnnxParser", "config": "IBuilderConfig",
    "shapes": "IOptimizationProfile", "tensor": "ITensor", "cache": "ITimingCache", "error": "ParserError",
    "engine": "ICudaEngine", "_engine": "ICudaEngine", "_context": "IExecutionContext", "_runtime": "Runtime",
    "flags": "NetworkDefinitionCreationFlag", "settings": "IRuntimeConfig", "compiled": "IRuntimeCache",
    "_kernels": "IRuntimeCache", "module": "", "_module": "", "INetworkDefinition": "INetworkDefinition",
    "registry": "IPluginRegistry",
}  # fmt: skip
"""The package's class behind each name in our sources; "" is the package itself."""
OURS = {"config": {"profiles"}, "flags": set(), "engine": {"kernels", "close", "start"}}
ONLY_RTX = {
    "ComputeCapability", "IBuilderConfig.num_compute_capabilities", "IBuilderConfig.set_compute_capability",
    "IExecutionContext.is_stream_capturable", "IRuntimeCache", "IRuntimeCache.deserialize", "IRuntimeCache.serialize",
    "IRuntimeConfig.create_runtime_cache", "IRuntimeConfig.set_runtime_cache", "Runtime.get_engine_validity",
}  # fmt: skip
"""Guarded in our code by what the package has."""
ONLY_FULL = {"INetworkDefinition.add_plugin_v3"}
"""Asked for before plugins are, which TensorRT-RTX has not."""
VALUES = (
    "cudaSuccess",
    "cudaError",
    "cudaMemcpyKind",
    "cudaMemcpyHost",
    "cudaMemcpyDevice",
    "cudaStreamCaptureMode",
    "cudaStreamNonBlocking",
    "cudaEventDisableTiming",
)
"""Starts of CUDA's names that are no functions."""
SAY_WHAT_IS_MISSING = """
import importlib, json, sys
module = importlib.import_module(sys.argv[1])
wanted = json.loads(sys.argv[2])
def has(path):
    value = module
    for part in path.split("."):
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True
print(json.dumps({"version": module.__version__, "missing": sorted(path for path in wanted if not has(path))}))
"""
CALL_ALL_OF_CUDA = """
import ctypes, json, sys
from types import SimpleNamespace
import cuda.bindings.runtime as runtime
import numpy as np
from sdk import cuda_arrays
from sdk.engines import memory

called, kept, answered = [], [], set()

class Runtime:
    # The real calls with our arguments; what none of them can do without a device is then taken as done.
    def __getattr__(self, name):
        real = getattr(runtime, name)
        return real if isinstance(real, type) or not callable(real) else lambda *given: self.call(name, real, given)

    def call(self, name, real, given):
        error, *found = real(*given)
        called.append(name)
        answered.add(error.name)
        if name == "cudaMallocHost":
            kept.append(ctypes.create_string_buffer(given[0]))
            return runtime.cudaError_t.cudaSuccess, ctypes.addressof(kept[-1])
        return runtime.cudaError_t.cudaSuccess, *(1 for _ in found)

real_import = memory.import_module
memory.import_module = cuda_arrays.import_module = lambda name: (real_import(name), Runtime())[1]
place = {"shape": (4, 6, 3), "typestr": "|u1", "data": (4096, False), "version": 3}
frame = np.zeros((4, 6, 3), np.uint8)
stream = memory.Stream()
stream.upload("frame", frame)
stream.upload("frame", np.zeros((8, 6, 3), np.uint8))  # larger than what is kept, which goes
stream.download("heatmap", (4, 6), np.dtype(np.float32))
for theirs in (7, None):  # a stream that has to be waited for, and an owner who names none
    stream.take_over(SimpleNamespace(__cuda_array_interface__=place | {"stream": theirs}), stream.allocate(72))
stream.fetch(frame.reshape(4, 18), 4096, 18)
stream.free(4096)
for is_capturable in (True, False):
    executable = stream.capture(lambda: is_capturable)
stream.launch(1)
stream.forget(1)
stream.close()
cuda_arrays.to_host(SimpleNamespace(__cuda_array_interface__=place | {"stream": 1}))
print(json.dumps({"called": sorted(set(called)), "answered": sorted(answered)}))
"""


def used() -> set[str]:
    """Every attribute of the package's objects that our sources name, as ``Class.attribute``."""
    found = set()
    for source in (trt, trt_run):
        for node in ast.walk(ast.parse(Path(source.__file__).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = node.value
                name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", None)
                if name in OWNERS and node.attr not in OURS.get(name, ()):
                    found.add(f"{OWNERS[name]}.{node.attr}".lstrip("."))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"getattr", "hasattr"}:
                owner, attribute = node.args[:2]
                name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", None)
                if name in OWNERS and isinstance(attribute, ast.Constant):
                    found.add(f"{OWNERS[name]}.{attribute.value}".lstrip("."))
    return found


def missing(module: str, paths: set[str], environment: dict[str, str]) -> dict:
    command = [sys.executable, "-c", SAY_WHAT_IS_MISSING, module, json.dumps(sorted(paths))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def install(wheel: str, folder: Path) -> None:
    """A package by itself, in a folder of its own."""
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--no-compile", "--target", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *options, wheel],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if re.search("retrying|connection|resolution", done.stderr, re.IGNORECASE):
        pytest.skip(f"no package index: {wheel} cannot be had here")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", params=VERSIONS)
def bindings(request, tmp_path_factory):
    """Major version, and an environment in which ``tensorrt_bindings`` can be imported."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the stub")
    folder = tmp_path_factory.mktemp(f"bindings{request.param}")
    install(f"tensorrt-cu13-bindings=={VERSIONS[request.param]}", folder)
    for library in LIBRARIES:
        name = f"{library}.so.{request.param}"
        command = [compiler, "-shared", "-fPIC", "-w", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run([*command, str(Path(__file__).with_name("trt_stub.c"))], check=True)
    return request.param, os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}


def test_the_sources_name_what_every_engine_needs():
    """So that an empty list cannot pass for a check."""
    assert {
        "Builder", "Builder.build_serialized_network", "OnnxParser.parse_from_file", "Runtime.deserialize_cuda_engine",
        "IExecutionContext.execute_async_v3", "ICudaEngine.get_tensor_name", "IBuilderConfig.add_optimization_profile",
        "nptype", "IProgressMonitor", "ICudaEngine.is_shape_inference_io", "get_plugin_registry",
        "IPluginRegistry.load_library", "INetworkDefinition.add_plugin_v3",
    } <= used()  # fmt: skip


def test_what_we_call_is_in_the_real_bindings(bindings):
    major, environment = bindings
    said = missing("tensorrt_bindings", used(), environment)
    assert said["version"].split(".")[0] == major
    assert set(said["missing"]) == ONLY_RTX


def test_a_name_that_is_not_there_is_noticed(bindings):
    said = missing("tensorrt_bindings", {"Builder.build_engine", "Builder.create_network"}, bindings[1])
    assert said["missing"] == ["Builder.build_engine"]


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
def test_what_we_call_is_in_tensorrt_rtx():
    assert set(missing("tensorrt_rtx", used(), dict(os.environ))["missing"]) == ONLY_FULL


def calls_of_cuda() -> set[str]:
    """Every function of CUDA's runtime that our sources name, whether they call it or hand on its name."""
    found = set()
    for source in (memory, cuda_arrays):
        names = re.findall(r"\bcuda[A-Z]\w+", Path(source.__file__).read_text(encoding="utf-8"))
        found |= {name for name in names if not name.startswith(VALUES)}
    return found


def test_cudas_bindings_take_every_call_with_our_arguments(repository, tmp_path):
    install(CUDA, tmp_path)
    paths = os.pathsep.join([str(tmp_path), str(repository)])
    environment = os.environ | {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", CALL_ALL_OF_CUDA], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert set(said["called"]) == calls_of_cuda()
    assert set(said["answered"]) <= {"cudaErrorInsufficientDriver", "cudaErrorNoDevice"}
