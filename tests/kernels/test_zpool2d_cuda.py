"""The CUDA source of ZPool2D, executed on the CPU thread by thread, against the reference."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kernels.testing import assert_parity
from kernels.zpool2d import reference
from kernels.zpool2d.cuda import Work
from tests.kernels import cuda_on_cpu
from tests.kernels.cuda_on_cpu import KERNELS, rounded, widened

SOURCE = KERNELS / "zpool2d" / "zpool2d.cu"
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
SEEDS = (0,) if cuda_on_cpu.SANITIZED else (0, 1, 2)
CASES = [
    ((1, 3, 1, 1), (7, 15, 31)),  # one pixel
    ((1, 3, 31, 31), (7, 15, 31)),  # one window
    ((2, 3, 33, 47), (7, 15, 31)),  # odd, so that rows are not aligned
    ((1, 3, 5, 64), (7, 15, 31, 63)),  # below a window
    ((1, 1, 6, 40), (1, 301)),  # a window of nothing but the pixel, and one that is allowed only in a small frame
    ((1, 2, 70, 304), (3, 7)),  # several segments and strips, rows aligned
    ((1, 1, 9, 521), (7, 225)),  # strips that are almost nothing but halo; no ring of rows
    ((2, 1, 40, 264), (7, 15, 31, 63, 5)),  # two passes
    ((1, 2, 8, 9), ()),  # the frame alone
]


@pytest.fixture(scope="session")
def library(on_cpu: Callable[[Path], ctypes.CDLL]) -> ctypes.CDLL:
    return on_cpu(SOURCE)


def run(library: ctypes.CDLL, x: np.ndarray, min_std: np.ndarray, work: Work, **settings: object) -> np.ndarray:
    n, c, h, w = work.shape
    z = np.full((n, len(work.windows) + 1, c, h, w), -1).astype(x.dtype)
    workspace = np.full(work.workspace_bytes(library), 0xFF, np.uint8)
    cuda_on_cpu.choose(library, **settings)
    arrays = [array.ctypes.data for array in (x, min_std, z)]
    work.launch(library, arrays, workspace=workspace.ctypes.data)
    return z


def expected(x: np.ndarray, min_std: np.ndarray, work: Work) -> np.ndarray:
    floor = min_std.astype(np.float64)
    return reference.zpool2d(widened(x), floor, work.windows, magnitude=work.magnitude)


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize(("shape", "windows"), CASES, ids=str)
def test_matches_reference_to_the_same_bits_in_any_order_of_threads(
    library: ctypes.CDLL,
    shape: tuple[int, int, int, int],
    windows: tuple[int, ...],
    precision: str,
    rng: np.random.Generator,
) -> None:
    x = rounded(rng.standard_normal(shape) + 3, precision)  # a mean that a sum of squares would drown in
    min_std = np.linspace(1e-5, 2, shape[1], dtype=np.float32)
    work = Work(shape=shape, windows=windows, magnitude=len(windows) % 2 == 1, dtype=DTYPES[precision])
    first, *others = (run(library, x, min_std, work, seed=seed, workers=1 + seed % 2) for seed in SEEDS)
    assert_parity(widened(first), expected(x, min_std, work), op="zpool2d", precision=precision)
    assert all(np.array_equal(first, other) for other in others)


def test_long_frame_stays_exact(library: ctypes.CDLL, rng: np.random.Generator) -> None:
    """Sums that run down a whole frame would lose what a float32 integral image loses."""
    shape = (1, 1, 700, 40)
    x = (rng.standard_normal(shape) + np.linspace(-50, 50, 700)[:, None]).astype(np.float32)
    work = Work(shape=shape, windows=(7, 31), dtype="float32")
    floor = np.ones(1, np.float32)
    assert_parity(run(library, x, floor, work), expected(x, floor, work), op="zpool2d", precision="fp32")


@pytest.mark.parametrize("odd_one", [np.nan, np.inf])
def test_what_is_not_a_number_stays_in_its_plane(library: ctypes.CDLL, odd_one: float) -> None:
    x = np.ones((1, 2, 40, 12), np.float32)
    x[0, 1, 20, 3] = odd_one
    z = run(library, x, np.ones(2, np.float32), Work(shape=x.shape, windows=(7,), dtype="float32"))
    assert np.isnan(z[:, :, 1]).all()
    assert (z[:, :, 0] == 0).all()


def test_nothing_is_written_for_an_empty_frame(library: ctypes.CDLL) -> None:
    x = np.empty((1, 2, 0, 5), np.float32)
    z = run(library, x, np.ones(2, np.float32), Work(shape=x.shape, windows=(7,), dtype="float32"))
    assert z.size == 0


@pytest.mark.parametrize(
    ("shape", "windows", "reason"),
    [
        ((1, 1, -1, 4), (7,), "a size is below 0"),
        ((1, 1, 4, 4), (8,), "a window is even"),
        ((1, 1, 4, 300), (227,), "a window is wider than 225 px"),
        ((1, 1, 1, 1 << 27), (), "a side is 2"),
        ((1, 1, 1 << 27, 1), (), "a side is 2"),
        ((1 << 20, 64, 8, 8), (7,), "too many planes"),
        ((1 << 10, 64, 1 << 15, 1 << 15), (7,), "too many strips"),
        ((1, 1, 4, 4), (7,) * 9, "there are 9 windows"),
        ((1, 1, 4, 4), ((1 << 32) + 7,), "a window is wider than 2147483647 px"),
    ],
)
def test_refuses_with_a_reason(
    library: ctypes.CDLL, shape: tuple[int, int, int, int], windows: tuple[int, ...], reason: str
) -> None:
    work = Work(shape=shape, windows=windows, dtype="float32")
    assert reason in str(work.reason_against(library))
    with pytest.raises(ValueError, match=reason):
        work.launch(library, (0, 0, 0), workspace=0)


@pytest.mark.parametrize("barrier", cuda_on_cpu.barriers(SOURCE.with_suffix(".cuh")), ids=str)
def test_a_barrier_that_is_left_out_is_noticed(
    library: ctypes.CDLL, barrier: tuple[str, int], rng: np.random.Generator
) -> None:
    x = rng.standard_normal((1, 2, 36, 40)).astype(np.float32)
    work = Work(shape=x.shape, windows=(3, 7), dtype="float32")
    floor = np.ones(2, np.float32)
    truth = expected(x, floor, work)
    results = [run(library, x, floor, work, seed=seed, without=barrier) for seed in SEEDS]
    assert max(np.nan_to_num(np.abs(z - truth), nan=np.inf).max() for z in results) > 0.01


@pytest.mark.slow
def test_address_sanitizer_finds_nothing(library: ctypes.CDLL) -> None:
    done = cuda_on_cpu.same_tests_under_sanitizer(Path(__file__))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
