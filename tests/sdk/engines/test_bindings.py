"""What we call of TensorRT is in the real bindings: of 10, of 11 and of TensorRT-RTX.

The bindings import nine C functions of libraries that are too large for a test; here they come from a stub, which lets
them be imported and asked what is in them. Builds and runs are simulated elsewhere, or done by TensorRT-RTX.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sdk.engines import trt, trt_run

VERSIONS = {"10": "10.16.1.11", "11": "11.4.0.106"}
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


@pytest.fixture(scope="module", params=VERSIONS)
def bindings(request, tmp_path_factory):
    """Major version, and an environment in which ``tensorrt_bindings`` can be imported."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the stub")
    folder = tmp_path_factory.mktemp(f"bindings{request.param}")
    wheel = f"tensorrt-cu13-bindings=={VERSIONS[request.param]}"
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--no-compile", "--target", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *options, wheel],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no package index: {wheel} cannot be had here")
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
