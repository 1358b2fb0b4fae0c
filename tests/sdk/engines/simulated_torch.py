"""A torch with a GPU that is not there, on :class:`simulated.Gpu`: what is queued is carried out as late as may be.

A tensor on the GPU holds :data:`GARBAGE` until the work that fills it is done. A package answers with the frame's red
channel as the heatmap and its mean as the score.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np

from tests.sdk.engines.simulated import Gpu

GARBAGE = 0xAB


class Tensor:
    """An array on the host, in pinned memory or on the GPU."""

    def __init__(self, torch: Torch, array: np.ndarray, place: str, owner: object = None) -> None:
        self.torch, self.array, self.place, self.owner = torch, array, place, owner
        self.shape, self.dtype = array.shape, array.dtype

    def pin_memory(self) -> Tensor:
        return Tensor(self.torch, self.array.copy(), "pinned")

    def to(self, device: str, *, non_blocking: bool = False) -> Tensor:
        if self.place == device:
            return self
        return self.torch.garbage(self.shape, self.dtype, device).copy_(self, non_blocking=non_blocking)

    def clone(self) -> Tensor:
        return self.torch.garbage(self.shape, self.dtype, self.place).copy_(self, non_blocking=True)

    def copy_(self, source: Tensor, *, non_blocking: bool = False) -> Tensor:
        target, origin = self.array, source.array  # as a GPU, what is queued keeps nothing alive
        self.torch.queue(lambda: np.copyto(target, origin))
        if not non_blocking or "host" in (self.place, source.place):
            self.torch.current.synchronize()
        return self

    def numpy(self) -> np.ndarray:
        assert self.place != "cuda"
        return self.array


class Stream:
    def __init__(self, gpu: Gpu, address: int | None = None) -> None:
        self.gpu = gpu
        self.address = gpu.cudaStreamCreateWithFlags(0)[1] if address is None else address

    def synchronize(self) -> None:
        self.gpu.cudaStreamSynchronize(self.address)

    def wait_stream(self, other: Stream) -> None:
        self.gpu.cudaStreamWaitEvent(self.address, SimpleNamespace(stream=other.address), 0)


class Torch:
    """The parts of the module that the backend uses."""

    __version__ = "2.13.0"

    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self.current = gpu, Stream(gpu)
        self.tf32: list[bool] = []
        self.cuda = SimpleNamespace(
            Stream=lambda: Stream(gpu), ExternalStream=lambda address: Stream(gpu, address), stream=self._stream,
            current_stream=lambda: self.current, synchronize=gpu.cudaDeviceSynchronize, graph=self._graph,
            CUDAGraph=lambda: SimpleNamespace(work=(), replay=None),
        )  # fmt: skip
        self.backends = SimpleNamespace(cudnn=SimpleNamespace(flags=self._flags))
        self._inductor = SimpleNamespace(aoti_load_package=lambda file, run_single_threaded: self.package)
        self.inference_mode = contextlib.nullcontext

    def from_numpy(self, array: np.ndarray) -> Tensor:
        assert array.flags.writeable
        return Tensor(self, array, "host")

    def as_tensor(self, frame: object, *, device: str) -> Tensor:
        """As torch does: where it lies, and without a look at its stream."""
        interface = frame.__cuda_array_interface__
        return Tensor(self, _at(interface["data"][0], interface["shape"]), device, frame)

    def from_dlpack(self, frame: object) -> Tensor:
        address, shape = frame.__dlpack__(stream=self.current.address)
        return Tensor(self, _at(address, shape), "cuda", frame)

    def empty(self, shape: tuple[int, ...], *, dtype: np.dtype, pin_memory: bool) -> Tensor:
        return self.garbage(shape, dtype, "pinned" if pin_memory else "host")

    def garbage(self, shape: tuple[int, ...], dtype: np.dtype, place: str) -> Tensor:
        array = np.empty(shape, dtype)
        array.view(np.uint8)[...] = GARBAGE
        return Tensor(self, array, place)

    def queue(self, work: object) -> None:
        self.gpu.queue(self.current.address, work)

    def package(self, frame: Tensor) -> list[Tensor]:
        """What Inductor compiled: queues its work and returns."""
        assert frame.place == "cuda"
        self.gpu.executions += 1
        score = self.garbage(frame.shape[:1], np.dtype(np.float32), "cuda")
        heatmap = self.garbage(frame.shape[:3], np.dtype(np.float32), "cuda")

        def work() -> None:
            heatmap.array[:] = frame.array[..., 0] / np.float32(255)
            score.array[:] = heatmap.array.mean((1, 2))

        self.queue(work)
        return [score, heatmap]

    @contextlib.contextmanager
    def _stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextlib.contextmanager
    def _graph(self, graph: SimpleNamespace, *, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"  # other threads may go on allocating
        self.cuda.synchronize()
        self.gpu.cudaStreamBeginCapture(stream.address, None)
        with self._stream(stream):
            yield
        error, work = self.gpu.cudaStreamEndCapture(stream.address)
        if error:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        graph.replay = lambda: self.gpu.cudaGraphLaunch(work, self.current.address)

    @contextlib.contextmanager
    def _flags(self, *, allow_tf32: bool, **_: object) -> Iterator[None]:
        self.tf32.append(allow_tf32)
        yield


def _at(address: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_uint8)), shape)
