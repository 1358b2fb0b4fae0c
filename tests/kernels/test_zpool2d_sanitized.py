"""ZPool2D on the CPU under AddressSanitizer and UndefinedBehaviorSanitizer, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernels import build

pytestmark = pytest.mark.slow
PREPARE = """
import sys
from pathlib import Path
import numpy as np
from kernels import library
from kernels.zpool2d import reference
native = library.load(Path(sys.argv[1]))
"""
EVERY_KIND_OF_SHAPE = """
rng = np.random.default_rng(0)
shapes = [(1, 1, 1, 1), (2, 3, 1, 33), (1, 2, 33, 1), (1, 1, 3, 4), (2, 2, 40, 37), (1, 1, 9, 5000), (0, 1, 2, 2)]
for n, c, h, w in shapes:
    for windows in [(), (1,), (7, 15, 31), (3, 2**31 - 1), (5,) * 8]:
        for magnitude in (True, False):
            x, floor = rng.normal(2, 1, (n, c, h, w)).astype(np.float32), np.full(c, 0.01, np.float32)
            out = np.empty((n, len(windows) + 1, c, h, w), np.float32)
            native.zpool2d(x, floor, windows, magnitude=magnitude, out=out, threads=3)
            truth = reference.zpool2d(x.astype(float), floor.astype(float), windows, magnitude=magnitude)
            assert np.abs(out - truth).max(initial=0) < 1e-5
x[...] = np.nan
native.zpool2d(x, floor, windows, magnitude=True, out=out)
print("clean")
"""
READS_TOO_FAR = """
x = np.lib.stride_tricks.as_strided(np.zeros(60, np.float32), (1, 1, 8, 8), (256, 256, 32, 4))
native.zpool2d(x, np.ones(1, np.float32), (3,), magnitude=True, out=np.empty((1, 2, 1, 8, 8), np.float32))
print("nothing noticed")
"""


@pytest.fixture(scope="module")
def sanitized(native_file: Path) -> Path:
    """The library with sanitizers; ``native_file`` skips where nothing can be built."""
    return build.build("native-for-tests", target="sanitized")


def run(program: str, library: Path) -> subprocess.CompletedProcess[str]:
    compiler = os.environ.get("CXX") or "c++"
    asked = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    environment = os.environ | {"LD_PRELOAD": asked.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0"}
    command = [sys.executable, "-c", PREPARE + program, str(library)]
    return subprocess.run(
        command, env=environment, cwd=build.BUILDS.parent, capture_output=True, text=True, check=False
    )


def test_no_shape_reads_or_writes_beyond_its_arrays(sanitized: Path):
    done = run(EVERY_KIND_OF_SHAPE, sanitized)
    assert done.stdout == "clean\n", done.stderr


def test_the_sanitizer_would_have_noticed(sanitized: Path):
    done = run(READS_TOO_FAR, sanitized)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr and "zpool2d" in done.stderr
