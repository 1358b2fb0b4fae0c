"""Arrays in GPU memory (``__cuda_array_interface__``) to the host, without a dependency where the owner can copy."""

from __future__ import annotations

import math
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sdk.errors import DeviceUnavailable, MissingExtra


class OnCuda(Protocol):
    """An array in GPU memory; see :func:`is_on_cuda`."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Address, shape, strides and type."""


@runtime_checkable
class OnTorch(Protocol):
    """A torch tensor, recognised without importing torch."""

    def cpu(self) -> OnTorch:
        """A copy on the host."""

    def detach(self) -> OnTorch:
        """The tensor without its gradient."""

    def numpy(self) -> NDArray[Any]:
        """The tensor as an array, if it lies on the host."""


OWN_COPIES = ("get", "copy_to_host")
"""How CuPy and PyCUDA, and Numba, name their copy to a NumPy array."""


def is_on_cuda(source: object) -> TypeGuard[OnCuda]:
    """Whether ``source`` shows memory of a GPU.

    The property itself is asked: torch has it on every tensor, and it raises on those in host memory. What
    ``isinstance`` says of a protocol depends on Python's version, from 3.12 on it does not evaluate properties.
    """
    try:
        return getattr(source, "__cuda_array_interface__", None) is not None
    except Exception:  # somebody else's property
        return False


def to_host(source: OnCuda) -> NDArray[Any]:
    """A NumPy copy of an array in GPU memory, made after the work queued on its stream."""
    if isinstance(source, OnTorch):
        return np.asarray(source.detach().cpu().numpy())
    for name in OWN_COPIES:
        if callable(getattr(source, name, None)):
            return np.asarray(getattr(source, name)())
    return _copied(source.__cuda_array_interface__)


def _copied(interface: dict[str, Any]) -> NDArray[Any]:
    """Copy the whole span of memory that the array covers, then view it by the array's own strides."""
    try:
        runtime = import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise MissingExtra("cuda-core", extra="gpu", purpose="reading an array in GPU memory") from error
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    strides = interface.get("strides") or _contiguous(shape, dtype.itemsize)
    if 0 in shape:
        return np.empty(shape, dtype)
    reach = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    low = sum(min(step, 0) for step in reach)
    span = np.empty(sum(map(abs, reach)) + dtype.itemsize, np.uint8)
    _check(runtime, runtime.cudaDeviceSynchronize())
    kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
    _check(runtime, runtime.cudaMemcpy(span.ctypes.data, interface["data"][0] + low, span.nbytes, kind))
    return np.ndarray(shape, dtype, buffer=span.data, offset=-low, strides=strides).copy()


def _contiguous(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    return tuple(itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _check(runtime: ModuleType, answer: tuple[Any, ...]) -> None:
    if answer[0] != runtime.cudaError_t.cudaSuccess:
        raise DeviceUnavailable(
            f"the copy from GPU memory failed: {answer[0]!r}",
            remedy="check that the array is still allocated and its device is the current one",
        )
