"""ONNX Runtime on a GPU: inputs and outputs bound to memory there, launches captured, and proof of where nodes run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sdk import forks
from sdk.cuda_arrays import is_on_gpu
from sdk.engines.memory import Stream
from sdk.errors import AnalyzerClosed, DeviceUnavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdk.backend import Arrays

HEAVY = frozenset({
    "AveragePool", "Conv", "ConvTranspose", "Einsum", "FusedConv", "FusedMatMul", "Gemm", "GlobalAveragePool",
    "GridSample", "InstanceNormalization", "LayerNormalization", "MatMul", "MaxPool", "Resize", "SCCMAttention",
    "Softmax", "ZPool2D",
})  # fmt: skip
"""Operators that take time; those that reckon with shapes belong on the CPU, where shapes are."""
KINDS = 8
"""Kinds of frame for which buffers and captured launches are kept."""


def require_placement(session: Any, provider: str, *, graph: str) -> None:  # noqa: ANN401  the runtime has no types
    """Refuse a session with heavy nodes anywhere but on ``provider``: it would be a CPU's speed under a GPU's name."""
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    if ask is None:
        raise DeviceUnavailable(
            "this onnxruntime cannot say on which device its nodes run", remedy="pip install -U onnxruntime-gpu"
        )
    astray = Counter(
        node.op_type for part in ask() if part.ep_name != provider for node in part.get_nodes() if node.op_type in HEAVY
    )
    if astray:
        named = ", ".join(f"{count} {kind}" for kind, count in sorted(astray.items()))
        raise DeviceUnavailable(
            f"onnxruntime would run these nodes of {graph} on the CPU: {named}", remedy='use device="cpu", or TensorRT'
        )


class BoundSession:
    """One session, whose runs take their turns: buffers and captured launches belong to one run at a time."""

    parallel = 1

    def __init__(self, runtime: Any, session: Any, *, device: str, captures: bool) -> None:  # noqa: ANN401
        self._runtime, self._session, self.device, self.captures = runtime, session, device, captures
        self.outputs = [output.name for output in session.get_outputs()]
        self._kinds: dict[tuple[object, ...], _Kind] = {}
        self._next = 0
        self._stream: Stream | None = None
        self._lock = threading.Lock()
        forks.outlive(self)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs for ``feeds``, in fresh arrays."""
        arrays = dict(feeds)
        with self._lock:
            if self._session is None:
                raise AnalyzerClosed("the session was closed during an analysis", remedy="close the Analyzer later")
            kind = self._kind(arrays)
            return kind.run(self._session, arrays)

    def submit(self, feeds: Mapping[str, NDArray[Any]]) -> Done:
        """Run at once: there is nothing to overlap with."""
        return Done(self.run(feeds))

    def close(self) -> None:
        """Drop session and buffers; the runtime frees them with the last reference. Idempotent."""
        with self._lock:
            self._kinds.clear()
            self._session = None
            if self._stream:
                self._stream.close()

    def _kind(self, arrays: Mapping[str, NDArray[Any]]) -> _Kind:
        """Buffers for arrays of these shapes; a scalar decides shapes, so its value tells kinds apart too."""
        signature = tuple((name, a.shape, a.tobytes() if a.ndim == 0 else b"") for name, a in sorted(arrays.items()))
        if signature not in self._kinds:
            if len(self._kinds) == KINDS:
                oldest = self._kinds.pop(next(iter(self._kinds)))
                oldest.forget(self._session)
            self._next += 1
            self._kinds[signature] = _Kind(self, arrays, self._next)
        return self._kinds[signature]

    def binding(self) -> Any:  # noqa: ANN401
        """A binding of the session."""
        return self._session.io_binding()

    def value(self, array: NDArray[Any]) -> Any:  # noqa: ANN401
        """Room for an array where the nodes run; a copy of a scalar on the host, where shapes are reckoned."""
        if array.ndim == 0:
            return self._runtime.OrtValue.ortvalue_from_numpy(array, "cpu", 0)
        return self._runtime.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype.type, self.device, 0)

    def take_over(self, array: object, target: int) -> None:
        """Copy an array that is on the GPU to where the nodes read it."""
        self._stream = self._stream or Stream()
        self._stream.take_over(array, target)
        self._stream.wait()

    def options(self, number: int) -> Any:  # noqa: ANN401
        """Options of a run: which captured launches it belongs to, if any are."""
        options = self._runtime.RunOptions()
        if self.captures:
            options.add_run_config_entry("gpu_graph_id", str(number))
        return options


class Done:
    """An answer that is there."""

    def __init__(self, answer: Arrays) -> None:
        self._answer = answer

    def result(self) -> Arrays:
        """The outputs."""
        return self._answer


class _Kind:
    """Buffers for one kind of frame. Outputs are placed by the first run, and stay where it put them."""

    def __init__(self, owner: BoundSession, arrays: Mapping[str, NDArray[Any]], number: int) -> None:
        self._owner, self._number = owner, number
        self._inputs = {name: owner.value(a) for name, a in arrays.items()}
        self._outputs: dict[str, Any] = {}
        self._binding: Any = None
        self._options = owner.options(number)

    def run(self, session: Any, arrays: Mapping[str, NDArray[Any]]) -> Arrays:  # noqa: ANN401
        """Copy up, run, copy down."""
        for name, array in arrays.items():
            if is_on_gpu(array):
                self._owner.take_over(array, self._inputs[name].data_ptr())
            elif array.ndim:
                self._inputs[name].update_inplace(np.ascontiguousarray(array))
        if self._binding is None:
            self._place_outputs(session)
        session.run_with_iobinding(self._binding, self._options)
        return {name: value.numpy() for name, value in self._outputs.items()}

    def forget(self, session: Any) -> None:  # noqa: ANN401
        """Free the captured launches."""
        if self._owner.captures and hasattr(session, "release_captured_graph"):
            session.release_captured_graph(self._number)

    def _place_outputs(self, session: Any) -> None:  # noqa: ANN401
        """Let the runtime choose places once, and keep them: what is captured writes to where it wrote."""
        first = self._bound()
        for name in self._owner.outputs:
            first.bind_output(name, self._owner.device)
        uncaptured = self._owner.options(-1)
        session.run_with_iobinding(first, uncaptured)
        self._outputs = dict(zip(self._owner.outputs, first.get_outputs(), strict=True))
        self._binding = self._bound()
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)

    def _bound(self) -> Any:  # noqa: ANN401
        binding = self._owner.binding()
        for name, value in self._inputs.items():
            binding.bind_ortvalue_input(name, value)
        return binding
