"""Every way to compute an operator that is timed on a GPU computes that operator: tried in main memory."""

from __future__ import annotations

import ctypes
import dataclasses
import shutil

import pytest

from benchmarks import kernels, kernels_once, on_device, sccm_attention, sccm_attention_cuda, zpool2d, zpool2d_cuda
from kernels import cuda_library
from tests.kernels import cuda_on_cpu

POOLING = zpool2d.Case(channels=2, height=12, width=17, windows=(3, 7), threads=1)
ATTENTION = sccm_attention.Case(batch=1, channels=6, positions=40, threads=1)
WAYS = [
    (module, case, name)
    for module, case in ((zpool2d_cuda, POOLING), (sccm_attention_cuda, ATTENTION))
    for name in module.CONTENDERS
    if name not in {"copy", "products", "compiled torch"}
]


@pytest.fixture(scope="module")
def library(pytestconfig: pytest.Config) -> ctypes.CDLL:
    """Kernels and shells, built for the CPU."""
    if not shutil.which(cuda_on_cpu.COMPILE[0]):
        pytest.skip("CUDA sources are not built for the CPU: no g++: apt-get install g++")
    source = cuda_on_cpu.with_shells(pytestconfig.cache.mkdir("onnxruntime-cuda"))
    built = cuda_on_cpu.build(source, pytestconfig.cache.mkdir("cuda-on-cpu"))
    cuda_on_cpu.choose(built)
    return built


@pytest.fixture
def there(library, monkeypatch):
    monkeypatch.setattr(cuda_library, "cuda", lambda: library)
    monkeypatch.setattr(cuda_library, "path", lambda: library._name)


@pytest.mark.parametrize(("module", "case", "name"), WAYS, ids=lambda value: value if isinstance(value, str) else "")
def test_all_compute_the_same(there, module, case, name):
    answer = module.CONTENDERS[name](case)()
    assert kernels.error(answer, case) < 2e-5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_in_fewer_bits_too(there, dtype):
    tolerance = {"float16": 4e-3, "bfloat16": 3e-2}[dtype]
    for module, case in ((zpool2d_cuda, POOLING), (sccm_attention_cuda, ATTENTION)):
        narrow = dataclasses.replace(case, dtype=dtype)
        for name in ("op torch", "eager torch"):
            assert kernels.error(module.CONTENDERS[name](narrow)(), narrow) < tolerance
        with pytest.raises(RuntimeError, match="the graph is in float32"):
            module.CONTENDERS["op onnxruntime"](narrow)


def test_the_floors_compute_nothing():
    assert zpool2d_cuda.copy(POOLING)() is None
    assert sccm_attention_cuda.products(ATTENTION)() is None


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(cuda_library, "cuda", lambda: None)
    with pytest.raises(RuntimeError, match="not built: python -m kernels cuda"):
        zpool2d_cuda.op_torch(POOLING)
    monkeypatch.setattr(on_device.cuda_library, "cuda", lambda: ctypes.CDLL(None))
    with pytest.raises(RuntimeError, match="has no CUDA"):
        zpool2d_cuda.separable_onnxruntime(dataclasses.replace(POOLING, device="cuda"))


def test_a_gpus_ways_are_found_by_the_device():
    assert kernels.ways(dataclasses.replace(POOLING, device="cuda")) is zpool2d_cuda
    assert kernels.ways(dataclasses.replace(ATTENTION, device="cuda")) is sccm_attention_cuda


def test_once_takes_every_kernel_and_judges_the_answers(there, monkeypatch, capsys):
    wanted = list(kernels_once.works("cpu", is_full=False))
    assert {(type(work), work.dtype) for work in wanted} == {
        (kind, dtype) for kind in (zpool2d.Case, sccm_attention.Case) for dtype in kernels_once.PRECISIONS
    }
    monkeypatch.setattr(kernels_once, "works", lambda device, is_full: iter([POOLING, ATTENTION]))
    assert kernels_once.main(["--device", "cpu"]) == 0
    assert kernels_once.main(["--device", "cpu", "--full"]) == 0
    monkeypatch.setattr(kernels_once, "pooling", lambda work: lambda: 2 * zpool2d_cuda.op_torch(work)())
    assert kernels_once.main(["--device", "cpu"]) == 1
    assert "windows=(3, 7)" in capsys.readouterr().err
