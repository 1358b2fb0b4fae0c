"""What the ways to compute an operator on a GPU share: features there, our kernels, and a session that stays there."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Protocol

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernels import cuda_library


class Work(Protocol):
    """Of any operator."""

    device: str
    dtype: str

    def inputs(self) -> dict[str, NDArray[np.float32]]:
        """By name, in the order of the operator's."""


def on_device(case: Work) -> list[Tensor]:
    """The inputs of ``case``, in its type and on its device."""
    kind = getattr(torch, case.dtype)
    return [torch.from_numpy(array).to(kind).to(case.device) for array in case.inputs().values()]


def kernels() -> ctypes.CDLL:
    """The library of our CUDA kernels. Raises RuntimeError where it was not built."""
    library = cuda_library.cuda()
    if library is None:
        raise RuntimeError("not built: python -m kernels cuda builds it in a checkout")
    return library


def session_on_device(case: Work, model: onnx.ModelProto, *, with_kernels: bool) -> Callable[[], list[object]]:
    """A session of ONNX Runtime on inputs that lie on the device, answering with outputs that do, too."""
    from sdk.backends import onnxruntime

    if case.dtype != "float32":
        raise RuntimeError("the graph is in float32")
    loaded = onnxruntime.runtime()
    options = loaded.SessionOptions()
    if with_kernels:
        kernels()
        options.register_custom_ops_library(str(cuda_library.path()))
    provider = "CUDAExecutionProvider" if case.device == "cuda" else "CPUExecutionProvider"
    if provider not in loaded.get_available_providers():
        raise RuntimeError("this ONNX Runtime has no CUDA: pip install onnxruntime-gpu")
    session = loaded.InferenceSession(model.SerializeToString(), options, providers=[provider])
    binding = session.io_binding()
    for name, array in case.inputs().items():
        binding.bind_ortvalue_input(name, loaded.OrtValue.ortvalue_from_numpy(array, case.device, 0))
    for output in session.get_outputs():
        binding.bind_output(output.name, case.device)

    def call() -> list[object]:
        session.run_with_iobinding(binding)
        return list(binding.get_outputs())

    return call
