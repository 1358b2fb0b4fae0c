"""What every test may ask for: the shared data folder, a seeded generator, a GPU; and what a skip is worth.

``REQUIRE_ALL=1`` turns every skip into a failure, except those for want of a GPU or of its compiler, those for want of
a package index, of a builder of containers or of a kernel that gives namespaces, and those for want of the data folder
when none was named. ``REQUIRE_GPU=1`` does so for the GPU's, ``REQUIRE_NVCC=1`` beside it for the compiler's.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import zlib
from collections.abc import Generator
from pathlib import Path
from types import ModuleType

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before torch and the runtimes are imported
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # tests that import onnxruntime themselves report to nobody, either

import cv2
import hypothesis
import numpy as np
import pytest

cv2.setNumThreads(2)
# How long an example takes says something about the machine; which examples are tried must not.
hypothesis.settings.register_profile("exact", deadline=None, derandomize=True)
hypothesis.settings.load_profile("exact")
NO_DATA = "no shared data: pytest --shared-data=PATH names a folder with train/, dev/ and odd/"
NO_GPU = "no NVIDIA GPU on this machine"
NO_NVCC = "no nvcc: "
NO_INDEX = "no package index: "
NO_BUILDER = "no builder of containers: "
NO_NAMESPACES = "no user namespaces: "
EXCUSED = (NO_DATA, NO_GPU, NO_NVCC, NO_INDEX, NO_BUILDER, NO_NAMESPACES)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shared-data", type=Path, help="folder with train/, dev/ and odd/ of real photographs")


def pytest_configure(config: pytest.Config) -> None:
    folder = config.getoption("shared_data")
    if folder is not None and not folder.is_dir():
        raise pytest.UsageError(f"--shared-data {folder} is not a folder\n  -> name one, or leave the option out")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu = Path("/dev/nvidiactl").exists()
    there = {
        "gpu": gpu,
        "tensorrt": importlib.util.find_spec("tensorrt"),
        "onnxruntime_gpu": any(importlib.metadata.distributions(name="onnxruntime-gpu")),
    }
    lacks = {name: NO_GPU if not gpu else None if here else f"{name} is not installed" for name, here in there.items()}
    if os.environ.get("REQUIRE_GPU") == "1":
        return
    for item in items:
        for marker, reason in lacks.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def _not_excused(report: pytest.TestReport | pytest.CollectReport) -> bool:
    reason = str(report.longrepr)
    excused = [excuse for excuse in EXCUSED if excuse != NO_NVCC or os.environ.get("REQUIRE_NVCC") != "1"]
    return report.skipped and not hasattr(report, "wasxfail") and not any(excuse in reason for excuse in excused)


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    report.outcome = "failed"
    report.longrepr = f"skipped although REQUIRE_ALL=1: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if os.environ.get("REQUIRE_ALL") == "1" and _not_excused(report):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if os.environ.get("REQUIRE_ALL") == "1" and _not_excused(report):
        _fail(report)
    return report


@pytest.fixture(scope="session")
def shared_data(request: pytest.FixtureRequest) -> Path:
    """The folder of real photographs given with ``--shared-data``."""
    folder = request.config.getoption("shared_data")
    if folder is None:
        pytest.skip(NO_DATA)
    return folder.resolve()


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's own name: other tests do not change its numbers."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def native_file() -> Path:
    """The native library, built from the checkout's sources once for as long as they stay."""
    from kernels import build  # not before a test asks: this file is tried by itself, too

    missing = build.missing()
    if missing:
        pytest.skip(f"the native library cannot be built: {'; '.join(missing)}")
    return build.build("native-for-tests")


@pytest.fixture
def native(native_file: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[ModuleType]:
    """The native library as a module, and in the place where :mod:`kernels.library` finds it."""
    from kernels import library

    monkeypatch.setattr(library, "FOLDER", native_file.parent)
    library.native.cache_clear()
    module = library.native()
    assert module is not None, library.reason_against()
    yield module
    library.native.cache_clear()
