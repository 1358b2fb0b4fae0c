"""The kernels' CUDA sources, built for the CPU once for as long as their text stays."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernels import cuda_on_cpu


@pytest.fixture(scope="session")
def on_cpu(pytestconfig: pytest.Config) -> Callable[[Path], ctypes.CDLL]:
    """Builds a ``.cu`` file for the CPU."""
    folder = pytestconfig.cache.mkdir("cuda-on-cpu")
    return lambda source: cuda_on_cpu.build(source, folder)
