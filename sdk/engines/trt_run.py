"""A TensorRT engine at work: contexts with a stream and memory of their own, and captured graphs for frames that recur.

While one context computes, the next frame can go up and the last answer come down on others.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sdk.cuda_arrays import is_on_gpu
from sdk.engines.memory import Stream
from sdk.errors import DeviceUnavailable, RunFailed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.backend import Arrays
    from sdk.engines.trt import Library

GRAPHS = 8
"""Captured graphs that a context keeps: for as many kinds of frame."""
Signature = tuple[object, ...]


class Engine:
    """An engine, and the contexts in which it runs. Any number of threads may use it."""

    def __init__(self, library: Library, plan: bytes, *, kernels: bytes = b"") -> None:
        self._library = library
        self._runtime = library.module.Runtime(library.logger())
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise DeviceUnavailable(
                f"{library.name} {library.version} refuses an engine{self._diagnosis(plan)}",
                remedy="build it again on this machine: python -m export tensorrt MODEL",
            )
        self._settings, self._kernels = self._runtime_settings(kernels)
        self._idle: list[Slot] | None = []
        self._lock = threading.Lock()

    def start(self, feeds: Mapping[str, Any]) -> Running:
        """Queue one run; ``feeds`` are arrays on the host, or on the GPU of this engine."""
        with self._lock:
            if self._idle is None:
                raise RunFailed("the engine was closed", remedy="close the Analyzer later")
            slot = self._idle.pop() if self._idle else None
        slot = slot or Slot(self._library.module, self._engine, self._settings)
        slot.start(feeds)
        return Running(self, slot, tuple(feeds.values()))

    def give_back(self, slot: Slot) -> None:
        """Take a context for the next run."""
        with self._lock:
            if self._idle is not None:
                self._idle.append(slot)
                return
        slot.close()

    def kernels(self) -> bytes:
        """What the package compiled at the first runs, to be kept; empty where it compiles nothing then."""
        return b"" if self._kernels is None else bytes(self._kernels.serialize())

    def close(self) -> None:
        """Give back what idle contexts hold. Idempotent."""
        with self._lock:
            idle, self._idle = self._idle or [], None
        for slot in idle:
            slot.close()

    def _runtime_settings(self, kernels: bytes) -> tuple[Any, Any]:
        """Settings of contexts and the cache of compiled kernels, of a package that has such."""
        if not self._library.has_runtime_cache:
            return None, None
        settings = self._engine.create_runtime_config()
        compiled = settings.create_runtime_cache()
        if kernels:
            compiled.deserialize(kernels)  # False where they are another machine's: then they are made again
        settings.set_runtime_cache(compiled)
        return settings, compiled

    def _diagnosis(self, plan: bytes) -> str:
        if not hasattr(self._runtime, "get_engine_validity"):
            return ""
        validity, diagnostics = self._runtime.get_engine_validity(plan)
        return f": {str(validity).rpartition('.')[2]}, diagnostics {diagnostics}"


class Running:
    """A run that was queued; holds its inputs, which the GPU may still read."""

    def __init__(self, owner: Engine, slot: Slot, feeds: tuple[object, ...]) -> None:
        self._owner, self._slot, self._feeds = owner, slot, feeds

    def result(self) -> Arrays:
        """Wait for the outputs; in arrays of the caller's own."""
        found = self._slot.finish()
        self._owner.give_back(self._slot)
        return found


class Slot:
    """One context: one run at a time."""

    def __init__(self, module: Any, engine: Any, settings: Any) -> None:  # noqa: ANN401  the package has no types
        self._module, self._engine = module, engine
        self._context = engine.create_execution_context(settings) if settings else engine.create_execution_context()
        self._stream = Stream()
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._outputs = [name for name in names if engine.get_tensor_mode(name) == module.TensorIOMode.OUTPUT]
        self._shape_values: dict[str, NDArray[Any]] = {}
        self._graphs: dict[Signature, Any] = {}
        self._seen: list[Signature] = []
        self._answers: dict[str, NDArray[Any]] = {}

    def start(self, feeds: Mapping[str, Any]) -> None:
        """Queue the way up, the work and the way down."""
        signature: list[object] = []
        for name, array in feeds.items():
            signature += self._bind_input(name, array)
        outputs = {}
        for name in self._outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            dtype = np.dtype(self._module.nptype(self._engine.get_tensor_dtype(name)))
            address = self._stream.device(name, int(np.prod(shape)) * dtype.itemsize)
            self._require(self._context.set_tensor_address(name, address), f"the address of {name}")
            outputs[name] = (shape, dtype)
            signature.append(address)
        self._execute(tuple(signature))
        self._answers = {name: self._stream.download(name, *kind) for name, kind in outputs.items()}

    def finish(self) -> Arrays:
        """Outputs of the run, copied."""
        self._stream.wait()
        return {name: array.copy() for name, array in self._answers.items()}

    def close(self) -> None:
        """Give back what this holds of the GPU."""
        for graph in self._graphs.values():
            if graph is not None:
                self._stream.forget(graph)
        self._graphs.clear()
        self._stream.close()

    def _bind_input(self, name: str, array: Any) -> list[object]:  # noqa: ANN401  of the host or of anybody's GPU
        """Tell the context where an input is and how large; what a captured graph of it depends on."""
        if self._engine.is_shape_inference_io(name):
            value = self._shape_values.setdefault(name, np.zeros(array.shape, array.dtype))
            np.copyto(value, array)
            self._require(self._context.set_tensor_address(name, value.ctypes.data), f"the value of {name}")
            return [name, *np.ravel(value).tolist()]
        shape = tuple(array.shape)
        if is_on_gpu(array):  # to where the last one was: a captured graph reads from one place
            address = self._stream.device(name, math.prod(shape))
            self._stream.take_over(array, address)
        else:
            address = self._stream.upload(name, array)
        self._require(self._context.set_input_shape(name, shape), f"frames of shape {shape}")
        self._require(self._context.set_tensor_address(name, address), f"the address of {name}")
        return [name, shape, address]

    def _execute(self, signature: Signature) -> None:
        """Queue the work: as a captured graph from the second time on."""
        if graph := self._graphs.get(signature):
            self._stream.launch(graph)
            return
        if signature in self._seen and signature not in self._graphs and self._is_capturable():
            self._graphs[signature] = graph = self._stream.capture(self._enqueue)
            if graph is not None:
                self._stream.launch(graph)
                self._forget_oldest()
                return
        self._seen = [*self._seen[-GRAPHS:], signature]
        self._require(self._enqueue(), "the run")

    def _enqueue(self) -> bool:
        return bool(self._context.execute_async_v3(self._stream.address))

    def _is_capturable(self) -> bool:
        ask = getattr(self._context, "is_stream_capturable", None)
        return ask is None or bool(ask(self._stream.address))

    def _forget_oldest(self) -> None:
        if len(self._graphs) > GRAPHS:
            graph = self._graphs.pop(next(iter(self._graphs)))
            if graph is not None:
                self._stream.forget(graph)

    def _require(self, accepted: object, what: str) -> None:
        if not accepted:
            raise RunFailed(f"the engine refuses {what}", remedy="its reasons are in the log of imdl.tensorrt")
