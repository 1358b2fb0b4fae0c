"""Packages of AOTInductor in this process: loaded and run by the torch that compiled them.

The one module of the SDK that imports torch: when a package is loaded, and not before.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdk import dlpack
from sdk.cuda_arrays import is_on_cuda
from sdk.engines.aoti_operators import Operators
from sdk.errors import DeviceUnavailable, MissingExtra

if TYPE_CHECKING:
    from sdk.backend import Arrays

_logger = logging.getLogger("imdl.aotinductor")

GRAPHS = 8
"""Captured CUDA graphs that a package keeps: for as many kinds of frame."""


class Package:
    """A package that was loaded. Any number of threads may use it; on a GPU runs overlap, each on its own stream."""

    def __init__(self, content: bytes, *, device: str, operators: Operators | None = None) -> None:
        self._torch = _torch()
        if operators:
            operators.register()
        self._on_cuda = device == "cuda"
        with tempfile.TemporaryDirectory(prefix="imdl-aotinductor.") as folder:
            file = Path(folder) / "model.pt2"
            file.write_bytes(content)
            try:
                # Without threads of its own: what is captured as a CUDA graph may wait for none.
                self._run = self._torch._inductor.aoti_load_package(str(file), run_single_threaded=True)
            except Exception as error:  # torch raises what its loader does
                raise DeviceUnavailable(
                    f"torch {self._torch.__version__} cannot load a package: {error}",
                    remedy="compile it again on this machine: python -m export aotinductor MODEL",
                ) from error
        self._lock = threading.Lock()
        self._idle: list[Slot] = []

    def start(self, feeds: Mapping[str, Any]) -> Running:
        """Queue one run on a stream of its own; on a CPU it is done when this returns."""
        with self._lock:
            slot = self._idle.pop() if self._idle else None
        slot = slot or Slot(self._torch, self._run, on_cuda=self._on_cuda)
        # One at a time: a package has one set of buffers. On a GPU this is the time to queue, not to compute.
        with self._lock:
            slot.start(feeds["frame"])
        return Running(self, slot, feeds["frame"])

    def give_back(self, slot: Slot) -> None:
        """Take a slot for the next run."""
        with self._lock:
            self._idle.append(slot)


class Running:
    """A run that was queued; holds its input, which the GPU may still read."""

    def __init__(self, package: Package, slot: Slot, frame: object) -> None:
        self._package, self._slot, self._frame = package, slot, frame

    def result(self) -> Arrays:
        """Wait for the outputs; in arrays of the caller's own."""
        found = self._slot.finish()
        self._package.give_back(self._slot)
        return found


class Slot:
    """Buffers and a stream: one run at a time, as a captured graph from the second frame of a shape on."""

    def __init__(self, torch: Any, run: Any, *, on_cuda: bool) -> None:  # noqa: ANN401  torch has no types
        self._torch, self._run = torch, run
        self._stream = torch.cuda.Stream() if on_cuda else None
        self._seen: list[tuple[int, ...]] = []
        self._graphs: dict[tuple[int, ...], tuple[Any, Any, Any] | None] = {}
        self._answers: tuple[Any, ...] = ()

    def start(self, frame: Any) -> None:  # noqa: ANN401  of the host or of anybody's GPU
        """Queue the way up, the work and the way down."""
        with self._torch.inference_mode(), self._arithmetic():
            if self._stream is None:
                writable = np.require(frame, requirements=["C", "W"])  # torch warns of arrays that are not
                self._answers = tuple(self._run(self._torch.from_numpy(writable)))
                return
            with self._torch.cuda.stream(self._stream):
                found = self._computed(self._source(frame))
                self._answers = tuple(self._down(value) for value in found)

    def finish(self) -> Arrays:
        """Outputs of the run, copied."""
        if self._stream is not None:
            self._stream.synchronize()
        score, heatmap = (value.numpy().copy() for value in self._answers)
        return {"score": score, "heatmap": heatmap}

    def _source(self, frame: Any) -> Any:  # noqa: ANN401
        """The frame as a tensor that a copy to the GPU need not wait for."""
        if dlpack.is_on_cuda(frame):
            return self._torch.from_dlpack(frame)  # the protocol orders its owner's work before this stream's
        if is_on_cuda(frame):
            self._follow(frame)
            return self._torch.as_tensor(frame, device="cuda")
        return self._torch.from_numpy(np.require(frame, requirements=["C", "W"])).pin_memory()

    def _follow(self, frame: Any) -> None:  # noqa: ANN401
        """Let this stream wait for what the owner of ``frame`` still does to it, if he says where."""
        stream = getattr(frame, "__cuda_array_interface__", {}).get("stream")
        if stream is None or self._stream is None:
            self._torch.cuda.synchronize()
        else:
            self._stream.wait_stream(self._torch.cuda.ExternalStream(stream))

    def _computed(self, source: Any) -> Any:  # noqa: ANN401
        shape = tuple(source.shape)
        if shape not in self._graphs and shape in self._seen:
            self._keep(shape, source)
        if captured := self._graphs.get(shape):
            graph, static, found = captured
            static.copy_(source, non_blocking=True)
            graph.replay()
            return found
        self._seen = [*self._seen[-GRAPHS:], shape]
        return self._run(source.to("cuda", non_blocking=True))

    def _keep(self, shape: tuple[int, ...], source: Any) -> None:  # noqa: ANN401
        """Capture the run for frames of ``shape``; what cannot be captured is queued each time, which is slower."""
        if len(self._graphs) == GRAPHS:
            self._graphs.pop(next(iter(self._graphs)))
        try:
            self._graphs[shape] = self._capture(source)
        except RuntimeError as error:
            _logger.warning("frames of shape %s run without a CUDA graph: %s", shape, error)
            self._graphs[shape] = None

    def _capture(self, source: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401
        """A graph of all launches, its input and its outputs; the run before it has made what is made once."""
        torch = self._torch
        static = source.to("cuda").clone()
        graph = torch.cuda.CUDAGraph()
        torch.cuda.current_stream().synchronize()
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            found = self._run(static)
        return graph, static, found

    def _down(self, value: Any) -> Any:  # noqa: ANN401
        pinned = self._torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
        return pinned.copy_(value, non_blocking=True)

    def _arithmetic(self) -> contextlib.AbstractContextManager[object]:
        """float32 without TF32, which keeps 10 bits of mantissa, which nobody asked for; first layers are float32."""
        if self._stream is None:
            return contextlib.nullcontext()
        context: contextlib.AbstractContextManager[object] = self._torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=False, allow_tf32=False
        )
        return context


def _torch() -> Any:  # noqa: ANN401  torch has no types
    try:
        torch = import_module("torch")
        import_module("torch._inductor")
    except Exception as error:  # an installation that is broken raises what it likes
        raise MissingExtra("torch", extra="torch", purpose="the backend aotinductor", why=str(error)) from error
    return torch
