"""Memory, streams and captured graphs of the current GPU, through NVIDIA's bindings of CUDA."""

from __future__ import annotations

import ctypes
import math
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sdk.cuda_arrays import view
from sdk.errors import DeviceUnavailable, LimitExceeded, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable


def runtime() -> Any:  # noqa: ANN401  the bindings have no types
    """NVIDIA's bindings; the GPU is not asked. Raises :class:`sdk.errors.MissingExtra` where they are missing."""
    try:
        return import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise MissingExtra("cuda-bindings", extra="gpu", purpose="memory of a GPU") from error


class Stream:
    """A stream of its own, the memory of what runs on it, and what it captured. For one thread at a time."""

    def __init__(self) -> None:
        self._runtime = runtime()
        self.address = int(self._do("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking))
        self._device: dict[str, tuple[int, int]] = {}
        self._host: dict[str, tuple[int, int]] = {}

    def device(self, name: str, size: int) -> int:
        """Address of at least ``size`` bytes on the GPU, the same for ``name`` until more is asked for."""
        return self._reserved(self._device, name, size, ("cudaMalloc", "cudaFree"))

    def host(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array in pinned memory, the same for ``name``: what is copied from elsewhere is not copied meanwhile."""
        size = math.prod(shape) * dtype.itemsize
        address = self._reserved(self._host, name, size, ("cudaMallocHost", "cudaFreeHost"))
        content = memoryview((ctypes.c_ubyte * max(size, 1)).from_address(address))
        return np.ndarray(shape, dtype, buffer=content)

    def upload(self, name: str, array: NDArray[Any]) -> int:
        """Put a copy of ``array`` on the GPU; its address there."""
        pinned = self.host(name, array.shape, array.dtype)
        np.copyto(pinned, array)
        address = self.device(name, array.nbytes)
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._do("cudaMemcpyAsync", address, pinned.ctypes.data, array.nbytes, kind, self.address)
        return address

    def download(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The pinned array in which the values will be after :meth:`wait`."""
        pinned = self.host(name, shape, dtype)
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        source = self.device(name, pinned.nbytes)
        self._do("cudaMemcpyAsync", pinned.ctypes.data, source, pinned.nbytes, kind, self.address)
        return pinned

    def take_over(self, source: object, target: int) -> None:
        """Queue a copy of an array on the GPU to ``target``, without gaps, made after what its owner queued on it.

        Raises:
            DeviceUnavailable: its pixels are scattered.
        """
        seen = view(source, stream=self.address)
        pieces = seen.pieces()
        if pieces is None:
            raise DeviceUnavailable(
                "an array on the GPU has gaps between its pixels", remedy="make it contiguous first"
            )
        if seen.stream is None:  # the owner is too old to say, or says that there is nothing to wait for
            self._do("cudaDeviceSynchronize")
        elif seen.stream:
            event = self._do("cudaEventCreateWithFlags", self._runtime.cudaEventDisableTiming)
            self._do("cudaEventRecord", event, seen.stream)
            self._do("cudaStreamWaitEvent", self.address, event, 0)
            self._do("cudaEventDestroy", event)
        count, length, pitch = pieces
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._do("cudaMemcpy2DAsync", target, length, seen.address, pitch, length, count, kind, self.address)

    def fetch(self, target: NDArray[np.uint8], source: int, pitch: int) -> None:
        """Queue a copy to the host: the rows of ``target`` lie ``pitch`` bytes apart from ``source`` on."""
        count, length = target.shape
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._do("cudaMemcpy2DAsync", target.ctypes.data, length, source, pitch, length, count, kind, self.address)

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes on the GPU, for the caller to :meth:`free`."""
        return int(self._do("cudaMalloc", size))

    def free(self, address: int) -> None:
        """Give back what :meth:`allocate` gave."""
        self._do("cudaFree", address)

    def capture(self, work: Callable[[], bool]) -> Any | None:  # noqa: ANN401  the bindings' handle
        """What ``work`` queues, as one graph that :meth:`launch` runs; None where it cannot be captured."""
        modes = self._runtime.cudaStreamCaptureMode
        self._do("cudaStreamBeginCapture", self.address, modes.cudaStreamCaptureModeThreadLocal)
        queued = work()
        error, graph = self._runtime.cudaStreamEndCapture(self.address)
        if error != self._runtime.cudaError_t.cudaSuccess or not queued:
            self._runtime.cudaGetLastError()  # an error of the capture is none of what comes next
            return None
        executable = self._do("cudaGraphInstantiate", graph, 0)
        self._do("cudaGraphDestroy", graph)
        return executable

    def launch(self, executable: Any) -> None:  # noqa: ANN401
        """Queue a captured graph."""
        self._do("cudaGraphLaunch", executable, self.address)

    def forget(self, executable: Any) -> None:  # noqa: ANN401
        """Free a captured graph."""
        self._do("cudaGraphExecDestroy", executable)

    def wait(self) -> None:
        """Until all that was queued is done."""
        self._do("cudaStreamSynchronize", self.address)

    def close(self) -> None:
        """Give memory and stream back. Idempotent."""
        if not self.address:
            return
        self.wait()
        for kept, free in ((self._device, "cudaFree"), (self._host, "cudaFreeHost")):
            for address, _ in kept.values():
                self._do(free, address)
            kept.clear()
        self._do("cudaStreamDestroy", self.address)
        self.address = 0

    def _reserved(self, kept: dict[str, tuple[int, int]], name: str, size: int, calls: tuple[str, str]) -> int:
        address, there = kept.get(name, (0, 0))
        if size <= there and address:
            return address
        if address:
            self.wait()
            self._do(calls[1], kept.pop(name)[0])
        address = int(self._do(calls[0], max(size, 1)))
        kept[name] = (address, max(size, 1))
        return address

    def _do(self, call: str, *arguments: Any) -> Any:  # noqa: ANN401  the bindings have no types
        error, *found = getattr(self._runtime, call)(*arguments)
        if error == self._runtime.cudaError_t.cudaSuccess:
            return found[0] if found else None
        if error == self._runtime.cudaError_t.cudaErrorMemoryAllocation:
            raise LimitExceeded(
                f"the GPU has no {arguments[0]} bytes left",
                remedy="use a smaller working_size, or fewer analyses at once",
            )
        raise DeviceUnavailable(f"{call} failed: {error!r}", remedy="imdl doctor; restart the process")
