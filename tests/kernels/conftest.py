"""The kernels' CUDA sources, built for the CPU once for as long as their text stays; TensorRT's bindings without it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernels import cuda_on_cpu

STUB = Path(__file__).parents[1] / "sdk" / "engines" / "trt_stub.c"
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
ASK = """
import sys
import tensorrt_bindings
sys.modules["tensorrt"] = tensorrt_bindings
import tensorrt.plugin as plugin
"""


@pytest.fixture(scope="session")
def on_cpu(pytestconfig: pytest.Config) -> Callable[..., ctypes.CDLL]:
    """Builds a ``.cu`` file for the CPU, with options for the compiler if any are given."""
    if not shutil.which(cuda_on_cpu.COMPILE[0]):
        pytest.skip("CUDA sources are not built for the CPU: no g++: apt-get install g++")
    folder = pytestconfig.cache.mkdir("cuda-on-cpu")
    return lambda source, *options: cuda_on_cpu.build(source, folder, *options)


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Runs a program in which TensorRT's own bindings are imported over a stub of its library: nothing can be built."""
    found = importlib.util.find_spec("tensorrt_bindings")
    if found is None or shutil.which("gcc") is None:
        pytest.skip("no nvcc: TensorRT's bindings come with it: pip install 'imdl-sdk[nvcc]'; and gcc builds the stub")
    folder = tmp_path_factory.mktemp("stub")
    major = importlib.metadata.version("tensorrt-cu13-bindings").split(".")[0]
    for name in LIBRARIES:
        target = folder / f"lib{name}.so.{major}"
        subprocess.run(["gcc", "-shared", "-fPIC", "-w", str(STUB), "-o", str(target)], check=True)

    def ask(program: str) -> str:
        checkout = str(cuda_on_cpu.KERNELS.parent)
        environment = os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": checkout}
        command = [sys.executable, "-W", "ignore", "-c", ASK + program]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return ask
