"""The CUDA kernels on torch tensors: with a GPU on it, without one in main memory, the same source on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kernels import cuda_library
from kernels.sccm_attention import reference as sccm_reference
from kernels.sccm_attention import torch_cuda as sccm
from kernels.sccm_attention import torch_op as sccm_op
from kernels.testing import assert_parity
from kernels.zpool2d import reference as zpool_reference
from kernels.zpool2d import torch_cuda as zpool
from kernels.zpool2d import torch_op as zpool_op
from tests.kernels import cuda_on_cpu, test_sccm_attention_cuda, test_zpool2d_cuda

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
ON_GPU = pytest.mark.gpu
OnDevice = Callable[[Path], ctypes.CDLL]


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=ON_GPU)])
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def built(device: str, on_cpu: OnDevice, tmp_path_factory: pytest.TempPathFactory) -> OnDevice:
    """Builds a source for the device, on a GPU all of them together and for that GPU only."""
    if device == "cpu":
        return on_cpu
    major, minor = torch.cuda.get_device_capability()
    library = cuda_library.build(tmp_path_factory.mktemp("cuda") / "cuda.so", (10 * major + minor,))
    loaded = ctypes.CDLL(str(library))
    return lambda source: loaded


def drawn(shape: tuple[int, ...], precision: str, device: str, rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape)).to(DTYPES[precision]).to(device)


def wide(tensor: torch.Tensor) -> np.ndarray:
    return tensor.double().cpu().numpy()


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize(
    ("shape", "windows"),
    [
        *(pytest.param(*case, marks=ON_GPU) for case in test_zpool2d_cuda.CASES),
        pytest.param((1, 4, 1080, 1920), (7, 15, 31), marks=ON_GPU),
        pytest.param((1, 2, 1080, 1920), (7, 15, 31, 63), marks=ON_GPU),
        ((1, 2, 20, 24), (3, 7)),
    ],
    ids=str,
)
def test_zpool2d(device, built, shape, windows, precision, rng):
    library = built(test_zpool2d_cuda.SOURCE)
    if device == "cpu":
        cuda_on_cpu.choose(library)
    x, floor = drawn(shape, precision, device, rng) + 3, torch.linspace(1e-5, 2, shape[1], device=device)
    z = zpool.zpool2d(library, x, floor, windows=windows, magnitude=False)
    assert z.dtype == x.dtype
    expected = zpool_reference.zpool2d(wide(x), wide(floor), windows, magnitude=False)
    assert_parity(wide(z), expected, op="zpool2d", precision=precision)
    assert torch.equal(z, zpool.zpool2d(library, x, floor, windows=windows, magnitude=False))


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize(
    "shape",
    [
        *(pytest.param(shape, marks=ON_GPU) for shape in test_sccm_attention_cuda.SHAPES),
        *(pytest.param(shape, marks=ON_GPU) for shape in [(1, 144, 4096), (1, 288, 4096), (2, 288, 1024)]),
        (1, 18, 64),
    ],
    ids=str,
)
def test_sccm_attention(device, built, shape, precision, rng):
    library = built(test_sccm_attention_cuda.SOURCE)
    if device == "cpu":
        cuda_on_cpu.choose(library)
    inputs = [drawn(shape, precision, device, rng) for _ in range(3)]
    outputs = sccm.sccm_attention(library, *inputs)
    for actual, expected in zip(outputs, sccm_reference.sccm_attention(*map(wide, inputs)), strict=True):
        assert_parity(wide(actual), expected, op="sccm_attention", precision=precision)
    again = sccm.sccm_attention(library, *inputs)
    assert all(torch.equal(a, b) for a, b in zip(outputs, again, strict=True))


def test_as_operators_of_torch_they_are_the_same(device, built, monkeypatch, rng):
    """On a GPU by their names; without one the functions that those call, which take the library that is here."""
    x, floor = drawn((1, 2, 20, 24), "fp32", device, rng), torch.linspace(1e-5, 2, 2, device=device)
    inputs = [drawn((1, 18, 64), "fp32", device, rng) for _ in range(3)]
    zpool2d, attention = zpool_op.zpool2d_on_gpu, sccm_op.sccm_attention
    if device == "cuda":
        zpool2d, attention = torch.ops.forensics.zpool2d, torch.ops.forensics.sccm_attention
    loaded = built(test_zpool2d_cuda.SOURCE)
    if device == "cpu":
        cuda_on_cpu.choose(loaded)
    monkeypatch.setattr(cuda_library, "cuda", lambda: loaded)
    z = zpool2d(x, floor, [3, 7], magnitude=True)
    assert torch.equal(z, zpool.zpool2d(loaded, x, floor, windows=(3, 7)))
    attending = built(test_sccm_attention_cuda.SOURCE)
    if device == "cpu":
        cuda_on_cpu.choose(attending)
    monkeypatch.setattr(cuda_library, "cuda", lambda: attending)
    for actual, expected in zip(attention(*inputs), sccm.sccm_attention(attending, *inputs), strict=True):
        assert torch.equal(actual, expected)


def test_operators_without_the_library_say_what_builds_it(tmp_path, monkeypatch):
    monkeypatch.setattr(cuda_library, "FOLDER", tmp_path)
    monkeypatch.setattr(cuda_library, "cuda", lambda: None)
    words = r"is not available: not built: .*\n  -> python -m kernels cuda"
    with pytest.raises(ValueError, match=f"forensics::zpool2d {words}"):
        zpool_op.zpool2d_on_gpu(torch.ones(1, 1, 4, 4), torch.ones(1), [3], magnitude=True)
    with pytest.raises(ValueError, match=f"forensics::sccm_attention {words}"):
        sccm_op.sccm_attention(*[torch.ones(1, 3, 4)] * 3)


def test_what_has_no_kernel_is_refused_with_a_reason_and_a_remedy(on_cpu):
    library = on_cpu(test_zpool2d_cuda.SOURCE)
    for x, windows in ((torch.ones(1, 1, 4, 4).double(), (7,)), (torch.ones(1, 1, 4, 4), (6,))):
        with pytest.raises(ValueError, match=r"no kernel for this: .*\n  -> kernels\.zpool2d\.functional"):
            zpool.zpool2d(library, x, torch.ones(1), windows=windows)
    library = on_cpu(test_sccm_attention_cuda.SOURCE)
    with pytest.raises(ValueError, match=r"no kernel for this: dtype is float64\n  -> kernels\.sccm_attention"):
        sccm.sccm_attention(library, *[torch.ones(1, 3, 4).double()] * 3)


def test_arrays_that_do_not_fit_together_are_refused(on_cpu):
    library = on_cpu(test_zpool2d_cuda.SOURCE)
    for x, floor in ((torch.ones(2, 3, 4), torch.ones(2)), (torch.ones(1, 3, 4, 4), torch.ones(2))):
        with pytest.raises(ValueError, match=r"x is \[.*\] on cpu, min_std \[2\] on cpu\n  -> give \[N, C, H, W\]"):
            zpool.zpool2d(library, x, floor)
    library = on_cpu(test_sccm_attention_cuda.SOURCE)
    theta = torch.ones(1, 3, 4)
    for other in (theta[:, :2], theta.half()):
        with pytest.raises(ValueError, match=r"theta, phi and g are .*\n  -> give \[B, C', N\] of one type"):
            sccm.sccm_attention(library, theta, theta, other)
    with pytest.raises(ValueError, match=r"theta, phi and g are .*\n  -> give \[B, C', N\] of one type"):
        sccm.sccm_attention(library, *[torch.ones(3, 4)] * 3)


def test_a_launch_that_fails_says_with_what_number(on_cpu):
    library = on_cpu(test_zpool2d_cuda.SOURCE)
    cuda_on_cpu.choose(library, shared_limit=0)  # a block is refused its shared memory
    with pytest.raises(ValueError, match=r"CUDA error 9\n  -> cudaError_t says what it is"):
        zpool.zpool2d(library, torch.ones(1, 1, 4, 4), torch.ones(1), windows=(7,))
    cuda_on_cpu.choose(library)
