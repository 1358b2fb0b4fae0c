"""Copies of arrays in GPU memory, with host memory standing in for the GPU's."""

from __future__ import annotations

import ctypes
import sys
import types

import numpy as np
import pytest

from sdk.cuda_arrays import is_on_cuda, to_host
from sdk.errors import DeviceUnavailable
from sdk.frames import as_frame


class OnGpu:
    """An array that shows where it lies and cannot copy itself."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @property
    def __cuda_array_interface__(self) -> dict:
        return {**self.array.__array_interface__, "version": 3, "stream": 1}


@pytest.fixture
def runtime(monkeypatch):
    """CUDA's runtime, in name."""

    def copy(target, source, size, kind):
        assert kind == "to host"
        ctypes.memmove(target, source, size)
        return (0,)

    fake = types.SimpleNamespace(
        cudaError_t=types.SimpleNamespace(cudaSuccess=0),
        cudaDeviceSynchronize=lambda: (0,),
        cudaMemcpy=copy,
        cudaMemcpyKind=types.SimpleNamespace(cudaMemcpyDeviceToHost="to host"),
    )
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", fake)
    return fake


@pytest.mark.parametrize("error", [AttributeError, RuntimeError])
def test_a_property_that_raises_is_no_array_on_a_gpu(error, rng):
    class InHostMemory:
        """What torch's tensors in host memory show."""

        def __init__(self, array):
            self.array = array

        @property
        def __cuda_array_interface__(self):
            raise error("not on a GPU")

        def __dlpack__(self, **settings):
            return self.array.__dlpack__(**settings)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    frame = rng.integers(0, 256, (5, 4, 3), np.uint8)
    assert is_on_cuda(OnGpu(frame))
    assert not is_on_cuda(frame)
    assert not is_on_cuda(InHostMemory(frame))
    np.testing.assert_array_equal(as_frame(InHostMemory(frame)), frame)


@pytest.mark.parametrize(
    "view", [np.s_[:], np.s_[::2], np.s_[::-1], np.s_[:, ::-2], np.s_[1:4, 2, ::-1], np.s_[:0]], ids=str
)
def test_any_strides_are_copied(runtime, rng, view):
    array = rng.integers(0, 256, (5, 6, 3), np.uint8)[view]
    copied = to_host(OnGpu(array))
    np.testing.assert_array_equal(copied, array)
    assert not np.shares_memory(copied, array)


def test_a_failed_copy_is_an_error(runtime):
    runtime.cudaMemcpy = lambda *_: (700,)
    with pytest.raises(DeviceUnavailable, match="the copy from GPU memory failed: 700"):
        to_host(OnGpu(np.zeros((2, 2, 3), np.uint8)))


@pytest.mark.gpu
def test_a_tensor_in_gpu_memory_is_copied(rng):
    torch = pytest.importorskip("torch")
    array = rng.integers(0, 256, (5, 6, 3), np.uint8)
    tensor = torch.from_numpy(array).cuda()
    np.testing.assert_array_equal(to_host(tensor), array)
