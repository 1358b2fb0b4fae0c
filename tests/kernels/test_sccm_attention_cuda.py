"""The CUDA source of SCCM attention, executed on the CPU thread by thread, against the reference."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kernels.sccm_attention import reference
from kernels.sccm_attention.cuda import Work
from kernels.testing import assert_parity
from tests.kernels import cuda_on_cpu
from tests.kernels.cuda_on_cpu import KERNELS, rounded, widened

SOURCE = KERNELS / "sccm_attention" / "sccm_attention.cu"
SOURCES = (SOURCE, *sorted(SOURCE.parent.glob("*.cuh")))
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
SEEDS = (0,) if cuda_on_cpu.SANITIZED else (0, 1, 2)
SHAPES = [
    (1, 3, 4),
    (2, 5, 8),
    (1, 18, 64),  # one tile
    (2, 144, 16),
    (1, 20, 300),  # several ranges of keys; rows that tensor cores cannot be fed with
    (1, 20, 304),  # the same with rows that they can
    (1, 161, 72),
    (1, 288, 72),  # the most channels of PSCC-Net
    (1, 9, 520),  # several parts of the positions that the channels' logits sum over
    (1, 330, 70),  # more channels than one block sums
]
# float32 products everywhere, and tensor cores where there are any: the same tolerances.
ROUTES = [("fp32", 90), ("fp16", 75), ("fp16", 80), ("bf16", 75), ("bf16", 80)]
FIRST_QUERIES = """
namespace {

// The launcher's plan, of whose first kernel only the first tile of queries is run.
template <class T, class Kernel>
int first_tile(const SCCMAttentionCuda& p, void* memory, Kernel kernel, int threads, size_t shared) {
  Device device;
  if (current_device(&device) != cudaSuccess) return 1;
  const Shape s = plan(p, device);
  const Workspace workspace(s, memory);
  const auto *theta = static_cast<const T*>(p.theta), *phi = static_cast<const T*>(p.phi);
  const int status = launch(kernel, dim3(1, s.splits, s.b), dim3(threads), shared, nullptr, s, theta, phi,
                            static_cast<const T*>(p.g), workspace.partial);
  if (status != cudaSuccess) return status;
  const dim3 grid(ceil_div(kTile * s.d, kMergeThreads));
  return launch(merge<T>, grid, dim3(kMergeThreads), 0, nullptr, s, workspace.partial, static_cast<T*>(p.spatial));
}

}  // namespace

extern "C" int first_queries(const SCCMAttentionCuda* p, void* memory) {
  if (p->dtype == kFloat32) return first_tile<float>(*p, memory, spatial<float>, kThreads, 0);
  Device device;
  if (current_device(&device) != cudaSuccess || !tensor_cores_take(*p, device)) return 1;
  const size_t shared = tensor_shared_bytes(int(p->d));
  return p->d <= kFewChannels
             ? first_tile<__half>(*p, memory, spatial_on_tensor_cores<__half, kFewChannels>, kTensorThreads, shared)
             : first_tile<__half>(*p, memory, spatial_on_tensor_cores<__half, kManyChannels>, kTensorThreads, shared);
}
"""
Outputs = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def library(on_cpu: Callable[[Path], ctypes.CDLL]) -> ctypes.CDLL:
    return on_cpu(SOURCE)


def run(library: ctypes.CDLL, inputs: list[np.ndarray], work: Work, **settings: object) -> Outputs:
    b, d, n = work.shape
    spatial, channel = (np.full((b, n, d), -1).astype(inputs[0].dtype) for _ in range(2))
    cuda_on_cpu.choose(library, **settings)
    workspace = np.full(work.workspace_bytes(library) + 16, 0xFF, np.uint8)
    address = workspace.ctypes.data + -workspace.ctypes.data % 16
    work.launch(library, [array.ctypes.data for array in (*inputs, spatial, channel)], workspace=address)
    return spatial, channel


def aligned(values: np.ndarray, precision: str) -> np.ndarray:
    """The numbers as the kernel reads them, at an address that is a multiple of 16, as device memory is."""
    stored = rounded(values, precision)
    memory = np.empty(stored.nbytes + 16, np.uint8)
    start = -memory.ctypes.data % 16
    array = memory[start : start + stored.nbytes].view(stored.dtype).reshape(stored.shape)
    array[:] = stored
    return array


def drawn(shape: tuple[int, int, int], precision: str, rng: np.random.Generator) -> list[np.ndarray]:
    return [aligned(rng.standard_normal(shape), precision) for _ in range(3)]


def check(outputs: Outputs, inputs: list[np.ndarray], precision: str) -> None:
    for actual, truth in zip(outputs, reference.sccm_attention(*map(widened, inputs)), strict=True):
        assert_parity(widened(actual), truth, op="sccm_attention", precision=precision)


@pytest.mark.parametrize(("precision", "capability"), ROUTES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_reference_to_the_same_bits_in_any_order_of_threads(
    library: ctypes.CDLL, shape: tuple[int, int, int], precision: str, capability: int, rng: np.random.Generator
) -> None:
    inputs, work = drawn(shape, precision, rng), Work(shape=shape, dtype=DTYPES[precision])
    first, *others = (
        run(library, inputs, work, seed=seed, workers=1 + seed % 2, capability=capability) for seed in SEEDS
    )
    check(first, inputs, precision)
    assert all(np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("channels", [144, 288])
def test_the_largest_work_of_pscc_net_is_right_where_it_is_looked_at(
    on_cpu: Callable[[Path], ctypes.CDLL],
    pytestconfig: pytest.Config,
    channels: int,
    precision: str,
    rng: np.random.Generator,
) -> None:
    """4096 positions on the multiprocessors of an H200: of the queries the first 64, which meet all keys."""
    source = pytestconfig.cache.mkdir("sccm-attention") / "first_queries.cpp"
    library = on_cpu(cuda_on_cpu.joined(source, SOURCE, text=FIRST_QUERIES))
    cuda_on_cpu.choose(library, multiprocessors=132, capability=90)
    shape, queries = (1, channels, 4096), 64
    inputs = [aligned(rng.standard_normal(shape) * scale, precision) for scale in (0.5, 0.5, 1)]
    work = Work(shape=shape, dtype=DTYPES[precision])
    workspace = np.full(work.workspace_bytes(library) + 16, 0xFF, np.uint8)
    spatial = np.zeros((1, 4096, channels), inputs[0].dtype)
    addresses = [array.ctypes.data for array in (*inputs, spatial, spatial)]
    place = ctypes.c_void_p(workspace.ctypes.data + -workspace.ctypes.data % 16)
    assert library.first_queries(ctypes.byref(work._launch(*addresses)), place) == 0, cuda_on_cpu.message(library)
    theta, phi, g = (widened(array)[0] for array in inputs)
    truth = reference.softmax(theta[:, :queries].T @ phi) @ g.T
    assert_parity(widened(spatial)[0, :queries], truth, op="sccm_attention", precision=precision)


@pytest.mark.parametrize(("precision", "capability"), ROUTES[1:])
def test_logits_in_the_hundreds_keep_full_precision(
    library: ctypes.CDLL, precision: str, capability: int, rng: np.random.Generator
) -> None:
    """What PSCC-Net's features give: a float16 of such a logit would be off by an eighth, an exponential overflow."""
    theta, phi, g = (rng.standard_normal((1, 144, 136)) for _ in range(3))
    inputs = [aligned(values, precision) for values in (6 * theta, 6 * phi, g)]
    logits = widened(inputs[0][0]).T @ widened(inputs[1][0])
    assert logits.max() > 500
    work = Work(shape=(1, 144, 136), dtype=DTYPES[precision])
    check(run(library, inputs, work, capability=capability), inputs, precision)


def test_memory_grows_with_positions_and_not_with_their_square(library: ctypes.CDLL) -> None:
    cuda_on_cpu.choose(library, multiprocessors=132)
    small, large = (Work(shape=(1, 144, n)).workspace_bytes(library) for n in (1 << 14, 1 << 18))
    assert large <= 16 * small
    assert large < (1 << 18) ** 2 / 100


def test_nothing_is_written_where_there_is_nothing(library: ctypes.CDLL) -> None:
    spatial, channel = run(library, [np.empty((1, 3, 0), np.float32)] * 3, Work(shape=(1, 3, 0), dtype="float32"))
    assert spatial.size == channel.size == 0


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((-1, 3, 4), "a size is below 0"),
        ((8193, 3, 4), "batch"),
        ((1, 2049, 4), "channels"),
        ((1, 3, (1 << 24) + 1), "positions"),
        ((32, 2048, 1 << 24), "numbers for a grid"),
    ],
)
def test_refuses_with_a_reason(library: ctypes.CDLL, shape: tuple[int, int, int], reason: str) -> None:
    work = Work(shape=shape, dtype="float32")
    assert reason in str(work.reason_against(library))
    with pytest.raises(ValueError, match=reason):
        work.launch(library, (0,) * 5, workspace=0)


@pytest.mark.parametrize("barrier", cuda_on_cpu.barriers(*SOURCES), ids=str)
def test_a_barrier_that_is_left_out_is_noticed(
    library: ctypes.CDLL, barrier: tuple[str, int], rng: np.random.Generator
) -> None:
    """At least one order of threads goes wrong without it, in float32 products or on tensor cores."""
    shape, worst = (1, 40, 136), 0.0
    for precision, capability in (("fp32", 80), ("fp16", 80)):
        inputs = drawn(shape, precision, rng)
        truth = reference.sccm_attention(*map(widened, inputs))
        for seed in (0, 1, 2):
            outputs = run(
                library,
                inputs,
                Work(shape=shape, dtype=DTYPES[precision]),
                seed=seed,
                without=barrier,
                capability=capability,
            )
            errors = [np.abs(widened(a) - b).max() for a, b in zip(outputs, truth, strict=True)]
            worst = max(worst, *np.nan_to_num(errors, nan=np.inf))
    assert worst > 0.05


@pytest.mark.slow
def test_address_sanitizer_finds_nothing(library: ctypes.CDLL) -> None:
    done = cuda_on_cpu.same_tests_under_sanitizer(Path(__file__))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
