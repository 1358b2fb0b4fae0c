"""Arrays in GPU memory, by protocol: where they lie, and their copies on the host.

``__cuda_array_interface__`` or DLPack, without a dependency where the owner can copy.
"""

from __future__ import annotations

import dataclasses
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sdk import dlpack
from sdk.dlpack import OnDlpack, dense
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


LEGACY = 1
"""CUDA's default stream, as both protocols name it."""
OWN_COPIES = ("get", "copy_to_host")
"""How CuPy and PyCUDA, and Numba, name their copy to a NumPy array."""


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """Memory of a GPU that somebody else owns."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """Bytes."""
    dtype: np.dtype[Any]
    stream: int | None
    """The owner's, on which work on it may be under way; 0 if all is ordered already, None if that is not known."""
    owner: object
    """What keeps the memory alive."""

    def pieces(self) -> tuple[int, int, int] | None:
        """Number, bytes and distance of the dense pieces that it is made of; None if they are not evenly apart."""
        length = self.dtype.itemsize
        axes = [(size, step) for size, step in zip(self.shape, self.strides, strict=True) if size != 1]
        while axes and axes[-1][1] == length:
            length *= axes.pop()[0]
        if not axes:
            return 1, length, length
        ((count, pitch),) = axes if len(axes) == 1 else ((0, -1),)
        return (count, length, pitch) if pitch >= length else None


def is_on_cuda(source: object) -> TypeGuard[OnCuda]:
    """Whether ``source`` shows memory of a GPU.

    The property itself is asked: torch has it on every tensor, and it raises on those in host memory. What
    ``isinstance`` says of a protocol depends on Python's version, from 3.12 on it does not evaluate properties.
    """
    try:
        return getattr(source, "__cuda_array_interface__", None) is not None
    except Exception:  # somebody else's property
        return False


def is_on_gpu(source: object) -> bool:
    """Whether ``source`` lies on a GPU, by whichever protocol it says so."""
    return is_on_cuda(source) or dlpack.is_on_cuda(source)


def view(source: object, *, stream: int) -> View:
    """Where ``source``, which is on a GPU, lies; through DLPack its owner's work is ordered before that on ``stream``.

    DLPack is preferred: torch's other interface does not name its stream.
    """
    if dlpack.is_on_cuda(source) and isinstance(source, OnDlpack):
        found = dlpack.described(source, stream=stream)
        return View(found.address, found.shape, found.strides, found.dtype, 0, (source, found.capsule))
    assert is_on_cuda(source)
    interface = source.__cuda_array_interface__
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    strides = tuple(interface.get("strides") or dense(shape, dtype.itemsize))
    return View(int(interface["data"][0]), shape, strides, dtype, interface.get("stream"), source)


def to_host(source: object) -> NDArray[Any]:
    """A NumPy copy of an array in GPU memory, made after the work queued on its stream."""
    if isinstance(source, OnTorch):
        return np.asarray(source.detach().cpu().numpy())
    for name in OWN_COPIES:
        if callable(getattr(source, name, None)):
            return np.asarray(getattr(source, name)())
    return _copied(source)


def _copied(source: object) -> NDArray[Any]:
    """Copy the whole span of memory that the array covers, then view it by the array's own strides."""
    try:
        runtime = import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise MissingExtra("cuda-bindings", extra="gpu", purpose="reading an array in GPU memory") from error
    seen = view(source, stream=LEGACY)
    if 0 in seen.shape:
        return np.empty(seen.shape, seen.dtype)
    reach = [(size - 1) * stride for size, stride in zip(seen.shape, seen.strides, strict=True)]
    low = sum(min(step, 0) for step in reach)
    span = np.empty(sum(map(abs, reach)) + seen.dtype.itemsize, np.uint8)
    _check(runtime, runtime.cudaDeviceSynchronize())
    kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
    _check(runtime, runtime.cudaMemcpy(span.ctypes.data, seen.address + low, span.nbytes, kind))
    return np.ndarray(seen.shape, seen.dtype, buffer=span.data, offset=-low, strides=seen.strides).copy()


def _check(runtime: ModuleType, answer: tuple[Any, ...]) -> None:
    if answer[0] != runtime.cudaError_t.cudaSuccess:
        raise DeviceUnavailable(
            f"the copy from GPU memory failed: {answer[0]!r}",
            remedy="check that the array is still allocated and its device is the current one",
        )
