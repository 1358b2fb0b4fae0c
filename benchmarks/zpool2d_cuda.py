"""ZPool2D on a GPU, every way there is: what :mod:`benchmarks.kernels` times with ``--device cuda``.

Each function of :data:`CONTENDERS` prepares one way and returns a call on features that lie on the device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.on_device import kernels, on_device, session_on_device
from benchmarks.zpool2d import Case, error, inlined, model
from kernels.zpool2d import functional, torch_cuda

__all__ = ["CONTENDERS", "ONCE", "error"]

Call = Callable[[], object]


def copy(case: Case) -> Call:
    """As many bytes as have to be read and written, by torch's copy: half of them in, half of them out."""
    source = torch.zeros(case.least_bytes // 8, device=case.device)
    target = torch.empty_like(source)

    def call() -> None:
        target.copy_(source)

    return call


def op_torch(case: Case) -> Call:
    """Our kernels on torch's tensors."""
    library = kernels()
    x, floor = _inputs(case)
    return lambda: torch_cuda.zpool2d(library, x, floor, windows=case.windows)


def op_onnxruntime(case: Case) -> Call:
    """Our kernels in ONNX Runtime, float32."""
    return session_on_device(case, model(case), with_kernels=True)


def separable_onnxruntime(case: Case) -> Call:
    """The portable body in ONNX Runtime, float32."""
    return session_on_device(case, inlined(case), with_kernels=False)


def eager_torch(case: Case) -> Call:
    """The torch form, whose windows are separable too."""
    return _composed(case, is_compiled=False)


def compiled_torch(case: Case) -> Call:
    """The same through torch.compile, for this size alone."""
    return _composed(case, is_compiled=True)


CONTENDERS: dict[str, Callable[[Case], Call]] = {
    function.__name__.replace("_", " "): function
    for function in (copy, op_torch, op_onnxruntime, separable_onnxruntime, eager_torch, compiled_torch)
}
"""By name. The first is the floor, the second what the others are compared with."""
ONCE: frozenset[str] = frozenset()
"""None takes minutes."""


def _inputs(case: Case) -> list[Tensor]:
    x, floor = on_device(case)
    return [x, floor.float()]


def _composed(case: Case, *, is_compiled: bool) -> Call:
    x, floor = _inputs(case)

    def scores() -> Tensor:
        return functional.zscores(x, *functional.statistics(x), floor, windows=case.windows)

    function = torch.compile(scores, dynamic=False) if is_compiled else scores

    def call() -> Tensor:
        with torch.inference_mode():
            return function()

    return call
