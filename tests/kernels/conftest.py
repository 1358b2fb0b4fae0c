"""The kernels' CUDA sources, built for the CPU once for as long as their text stays."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Callable

import pytest

from tests.kernels import cuda_on_cpu


@pytest.fixture(scope="session")
def on_cpu(pytestconfig: pytest.Config) -> Callable[..., ctypes.CDLL]:
    """Builds a ``.cu`` file for the CPU, with options for the compiler if any are given."""
    if not shutil.which(cuda_on_cpu.COMPILE[0]):
        pytest.skip("CUDA sources are not built for the CPU: no g++: apt-get install g++")
    folder = pytestconfig.cache.mkdir("cuda-on-cpu")
    return lambda source, *options: cuda_on_cpu.build(source, folder, *options)
