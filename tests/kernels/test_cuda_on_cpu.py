"""What executes CUDA on the CPU notices what a GPU would leave undefined, and rounds as a GPU does."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.kernels import cuda_on_cpu

SOURCE = Path(__file__).with_name("probe.cu")
KERNELS = re.findall(r"__global__ void (\w+)\(", SOURCE.read_text(encoding="utf-8"))
LAUNCH_FAILED, INVALID_CONFIGURATION = 719, 9  # cudaError_t


@pytest.fixture(scope="session")
def library(on_cpu: Callable[[Path], ctypes.CDLL]) -> ctypes.CDLL:
    return on_cpu(SOURCE)


def probe(
    library: ctypes.CDLL, kernel: str, *, blocks: int = 1, threads: int = 64, shared: int = 256, **settings: object
) -> tuple[int, np.ndarray]:
    out = np.zeros(max(threads, 2 * blocks), np.int32)
    cuda_on_cpu.choose(library, **settings)
    status = library.probe(KERNELS.index(kernel), blocks, threads, shared, ctypes.c_void_p(out.ctypes.data))
    return status, out


def test_a_barrier_joins_the_threads(library):
    status, out = probe(library, "reverses")
    assert (status, out.tolist()) == (0, list(range(64))[::-1])


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        ("barrier_of_some", "divergent barrier: .*has left the kernel"),
        ("barriers_in_two_places", "divergent barrier: another thread waits in line"),
        ("lane_outside", "shuffle from lane 40, which does not take part"),
        ("lane_that_left", "divergent warp: .*has left the kernel"),
        ("lane_outside_the_mask", "a lane that is not in the mask takes part"),
        ("two_barriers_at_once", "threads wait for each other for ever"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_what_a_gpu_leaves_undefined_is_an_error_with_a_message(library, kernel, words, seed):
    status, _ = probe(library, kernel, seed=seed)
    assert status == LAUNCH_FAILED
    assert re.search(rf"probe\.cu:\d+: block 0, thread \d+: {words}", cuda_on_cpu.message(library))


def test_shared_memory_holds_nothing_when_a_block_starts(library):
    status, out = probe(library, "reads_what_nobody_wrote", blocks=40, workers=2)
    assert status == 0
    assert (out[:80] == -1).all()


def test_a_seed_is_an_order_of_threads(library):
    orders = [probe(library, "order_of_threads", seed=seed)[1].tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert all(sorted(order) == list(range(64)) for order in orders)


@pytest.mark.parametrize("launch", [{"threads": 1056}, {"shared": (227 << 10) + 1}, {"blocks": 0}], ids=str)
def test_a_launch_that_no_gpu_takes_is_refused(library, launch):
    assert probe(library, "reverses", **launch)[0] == INVALID_CONFIGURATION


@pytest.mark.parametrize(("name", "dtype"), [("half", torch.float16), ("bfloat16", torch.bfloat16)])
def test_every_16_bit_number_is_widened_exactly_and_every_float_to_the_nearest(library, name, dtype, rng):
    def convert(function, values, result):
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (values, result))
        getattr(library, function)(*pointers, values.size)
        return result

    every = np.arange(1 << 16, dtype=np.uint16)
    truth = torch.from_numpy(every.view(np.int16)).view(dtype).float().numpy()
    np.testing.assert_array_equal(convert(f"from_{name}", every, np.empty(1 << 16, np.float32)), truth)

    # Numbers, what lies halfway between two of them, that and a bit more or less, and any bits at all.
    finite = np.unique(truth[np.isfinite(truth)]) / 2
    halves = finite[:-1] + finite[1:]
    beside = [np.nextafter(halves, np.float32(side)) for side in (-np.inf, np.inf)]
    anything = rng.integers(0, 1 << 32, 100_000, dtype=np.uint32).view(np.float32)
    floats = np.concatenate([truth, halves, *beside, anything])
    floats = floats[~np.isnan(floats)]
    rounded = torch.from_numpy(floats).to(dtype).view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(convert(f"to_{name}", floats, np.empty(floats.size, np.uint16)), rounded)


@pytest.mark.slow
def test_address_sanitizer_sees_an_access_beyond_shared_memory(library):
    program = (
        "import ctypes, pathlib, tempfile; from tests.kernels import cuda_on_cpu as c;"
        f"library = c.build(pathlib.Path({str(SOURCE)!r}), pathlib.Path(tempfile.mkdtemp()));"
        f"library.probe({KERNELS.index('writes_beyond')}, 1, 64, 64, ctypes.c_void_p())"
    )
    done = cuda_on_cpu.under_sanitizer(sys.executable, "-c", program)
    assert "heap-buffer-overflow" in done.stderr
    assert "writes_beyond" in done.stderr
