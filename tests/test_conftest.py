"""A skip is a failure where everything is required, but for want of a GPU, of nvcc or of data that nobody named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NO_GPU_HERE = not Path("/dev/nvidiactl").exists()
TESTS = """
import pytest

def test_lacks_a_tool():
    pytest.skip("no such tool")

def test_lacks_nvcc():
    pytest.skip("not compiled: no nvcc: install it")

@pytest.mark.gpu
def test_lacks_a_gpu():
    pass

def test_lacks_data(shared_data):
    pass

@pytest.mark.xfail(reason="known")
def test_known_failure():
    assert False

def test_seed(rng):
    assert rng.random() == pytest.approx(0.5, abs=0.5)
"""


@pytest.fixture
def outcome(tmp_path, repository):
    """Run the tests above under this project's conftest; pytest's closing line."""
    shutil.copy(repository / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  gpu: x\n  tensorrt: x\n", encoding="utf-8")
    (tmp_path / "test_it.py").write_text(TESTS, encoding="utf-8")

    def run(*arguments: str, **environment: str) -> str:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("REQUIRE")}
        done = subprocess.run(
            command, cwd=tmp_path, env=clean | environment, capture_output=True, text=True, check=False
        )
        return (done.stdout + done.stderr).strip().splitlines()[-1]

    return run


@pytest.mark.skipif(not NO_GPU_HERE, reason="no NVIDIA GPU on this machine is what is tried here")
def test_skips_are_skips_for_a_developer(outcome):
    assert outcome().startswith("1 passed, 4 skipped, 1 xfailed")


@pytest.mark.skipif(not NO_GPU_HERE, reason="no NVIDIA GPU on this machine is what is tried here")
def test_where_all_is_required_only_gpu_nvcc_and_unnamed_data_skip(outcome):
    assert outcome(REQUIRE_ALL="1").startswith("1 failed, 1 passed, 3 skipped, 1 xfailed")


@pytest.mark.skipif(not NO_GPU_HERE, reason="no NVIDIA GPU on this machine is what is tried here")
def test_where_nvcc_was_installed_its_tests_may_not_skip(outcome):
    assert outcome(REQUIRE_ALL="1", REQUIRE_NVCC="1").startswith("2 failed, 1 passed, 2 skipped, 1 xfailed")


def test_a_named_folder_has_to_exist(outcome):
    assert "leave the option out" in outcome("--shared-data", "nowhere")
