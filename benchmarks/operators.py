"""What the operators' benchmarks share: a case of the work, and how torch and the runtimes are given it."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, inliner

from kernels import cuda_library

if TYPE_CHECKING:
    from torch import Tensor

Features = NDArray[np.float32]
Call = Callable[[], object]
"""Computes what it was prepared for: arrays or tensors, or None from what only moves or multiplies as much."""
SEED = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Case(ABC):
    """One operator's work at one size, on one device."""

    threads: int
    device: str = "cpu"
    """Or cuda."""
    dtype: str = "float32"
    """Of what is read and written; on a GPU also float16 or bfloat16."""

    op: ClassVar[str]
    sizes: ClassVar[tuple[str, ...]]
    """Those that are timed where none is asked for."""

    @classmethod
    @abstractmethod
    def of(cls, size: str, **settings: int | str) -> Self:
        """The case whose :attr:`size` is ``size``. Raises ValueError where no size is written like that."""

    @property
    @abstractmethod
    def size(self) -> str:
        """Of an item's features, its axes joined by x."""

    @property
    @abstractmethod
    def least_elements(self) -> int:
        """Inputs read once, outputs written once: what no implementation can do without."""

    @property
    def least_bytes(self) -> int:
        """The same in bytes."""
        return self.least_elements * (4 if self.dtype == "float32" else 2)

    @property
    def least_flop(self) -> int | None:
        """Of the matrix products, a multiplication and an addition counted as two; None where memory is the bound."""
        return None

    @abstractmethod
    def drawn(self, generator: np.random.Generator) -> dict[str, Features]:
        """Inputs by name, in the operator's order."""

    def inputs(self) -> dict[str, Features]:
        """The same ones every time, of numbers that the type has."""
        drawn = self.drawn(np.random.default_rng(SEED))
        return {name: as_stored(array, self.dtype) for name, array in drawn.items()}

    @abstractmethod
    def model(self) -> onnx.ModelProto:
        """A graph of the operator alone, with its body."""

    @abstractmethod
    def error(self, outputs: Sequence[Features]) -> float:
        """Largest difference from the reference, of a part: float64 takes its time."""


Way = Callable[[Case], Call]
"""Prepares one way to do the work. Raises RuntimeError where that cannot be done here."""


def as_stored(array: Features, dtype: str) -> Features:
    """The nearest numbers that ``dtype`` has, so that what it loses on its way in is nobody's error."""
    if dtype == "float32":
        return array
    if dtype == "float16":
        return array.astype(np.float16).astype(np.float32)
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def graph(
    body: onnx.FunctionProto,
    inputs: Mapping[str, Iterable[int]],
    outputs: Mapping[str, Iterable[int]],
    **attributes: object,
) -> onnx.ModelProto:
    """One node whose function is ``body``, between inputs and outputs of those shapes."""
    node = helper.make_node(body.name, list(inputs), list(outputs), domain=body.domain, **attributes)
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in shapes.items()]
        for shapes in (inputs, outputs)
    ]
    return helper.make_model(
        helper.make_graph([node], body.name, *values),
        functions=[body],
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(body.domain, 1)],
        ir_version=10,
    )


def portable(case: Case) -> onnx.ModelProto:
    """The same work in standard operators."""
    return inliner.inline_local_functions(case.model())


def in_onnxruntime(case: Case, model: onnx.ModelProto, *, operators: Path | str | None = None) -> Call:
    """A session on inputs that lie on the device, with outputs there too; ``operators`` is a library of them."""
    from sdk.backends import onnxruntime

    if case.dtype != "float32":
        raise RuntimeError("the graph is in float32")
    loaded = onnxruntime.runtime()
    provider = "CUDAExecutionProvider" if case.device == "cuda" else "CPUExecutionProvider"
    if provider not in loaded.get_available_providers():
        raise RuntimeError("this ONNX Runtime has no CUDA: pip install onnxruntime-gpu")
    options = loaded.SessionOptions()
    options.intra_op_num_threads = case.threads
    if operators:
        options.register_custom_ops_library(str(operators))
    session = loaded.InferenceSession(model.SerializeToString(), options, providers=[provider])
    binding = session.io_binding()
    for name, array in case.inputs().items():
        binding.bind_ortvalue_input(name, loaded.OrtValue.ortvalue_from_numpy(array, case.device, 0))
    for output in session.get_outputs():
        binding.bind_output(output.name, case.device)

    def call() -> object:
        session.run_with_iobinding(binding)
        return binding.get_outputs()

    return call


def in_openvino(case: Case, model: onnx.ModelProto) -> Call:
    """A request on inputs and outputs that are not copied."""
    from sdk.backends import openvino

    hints = {
        "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": case.threads, "PERFORMANCE_HINT": "LATENCY",
    }  # fmt: skip
    core = openvino.runtime().Core()
    request = core.compile_model(core.read_model(model.SerializeToString()), "CPU", hints).create_infer_request()
    inputs = case.inputs()
    return lambda: list(request.infer(inputs, share_inputs=True, share_outputs=True).values())


@dataclass(frozen=True, slots=True)
class InTorch:
    """A call of torch on inputs that lie on the device, without gradients."""

    run: Callable[..., object]
    inputs: list[Tensor]

    def __call__(self) -> object:
        """Put the work on the current stream."""
        import torch

        with torch.inference_mode():
            return self.run(*self.inputs)

    def captured(self) -> Call:
        """The same as a CUDA graph, as engines run it: how long Python takes to launch its kernels does not count."""
        import torch

        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(3):  # compiles what is compiled when it is first called
                self()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answer = self()

        def replay() -> object:
            graph.replay()
            return answer

        return replay


def in_torch(case: Case, function: Callable[..., object], *, is_compiled: bool = False) -> InTorch:
    """``function`` of the inputs as tensors on the device; compiled for this size alone."""
    import torch

    torch.set_num_threads(case.threads)
    kind = getattr(torch, case.dtype)
    inputs = [torch.from_numpy(array).to(case.device, kind) for array in case.inputs().values()]
    return InTorch(torch.compile(function, dynamic=False) if is_compiled else function, inputs)


def cuda_kernels() -> ctypes.CDLL:
    """The library of our CUDA kernels. Raises RuntimeError where it was not built."""
    loaded = cuda_library.cuda()
    if loaded is None:
        raise RuntimeError("not built: python -m kernels cuda builds it in a checkout")
    return loaded


def with_cuda_kernels(case: Case) -> Call:
    """The operator in ONNX Runtime, by our CUDA kernels."""
    cuda_kernels()
    return in_onnxruntime(case, case.model(), operators=cuda_library.path())
