"""``zpool2d`` of the native libraries as an operator of torch, without gradients.

On the CPU in float32; on a GPU, by the CUDA kernels, only in programs that are exported to call it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels import cuda_library, library, torch_nodes
from kernels.zpool2d import cuda

NAME = "forensics::zpool2d"


def serves(x: Tensor, min_std: Tensor, windows: tuple[int, ...]) -> bool:
    """Whether a native library can take over from torch for these inputs, here and now.

    Not where a gradient is wanted, and not while torch compiles: it makes better code around operators that it knows.
    Unless that code is to call ours (:func:`kernels.torch_nodes.called`).
    """
    wants_gradient = torch.is_grad_enabled() and (x.requires_grad or min_std.requires_grad)
    if wants_gradient or x.device != min_std.device:
        return False
    if torch_nodes.are_called():
        return _is_on_cpu(x, min_std, windows) or _is_on_gpu(x, windows)
    return _is_on_cpu(x, min_std, windows) and type(x) is Tensor and not torch.compiler.is_compiling()


def zpool2d(
    x: Tensor,  # float32 [N, C, H, W]
    min_std: Tensor,  # float32 [C]
    windows: list[int],  # px, odd
    *,
    magnitude: bool,
) -> Tensor:  # float32 [N, len(windows) + 1, C, H, W]
    """:func:`.reference.zpool2d` in the native library, in as many threads as torch has; no gradient."""
    module = library.native()
    if module is None:
        raise ValueError(f"{NAME} is not available: {library.reason_against()}\n  -> make native")
    z = _empty(x, windows)
    features, floor = x.detach().contiguous().numpy(), min_std.detach().contiguous().numpy()
    threads = torch.get_num_threads()
    module.zpool2d(features, floor, windows, magnitude=magnitude, out=z.numpy(), threads=threads)
    return z


def zpool2d_on_gpu(
    x: Tensor,  # [N, C, H, W] float32, float16 or bfloat16
    min_std: Tensor,  # [C]
    windows: list[int],  # px, odd
    *,
    magnitude: bool,
) -> Tensor:  # [N, len(windows) + 1, C, H, W] of the type of x
    """:func:`.torch_cuda.zpool2d` with the library that is here."""
    from kernels.zpool2d import torch_cuda  # which takes its windows from the module that imports this one

    loaded = cuda_library.cuda()
    if loaded is None:
        raise ValueError(f"{NAME} is not available: {cuda_library.reason_against()}\n  -> python -m kernels cuda")
    return torch_cuda.zpool2d(loaded, x, min_std, windows=tuple(windows), magnitude=magnitude)


def _is_on_cpu(x: Tensor, min_std: Tensor, windows: tuple[int, ...]) -> bool:
    """Whether these are arrays of the CPU that the library for it takes."""
    module = library.native() if x.device.type == "cpu" else None
    if module is None or "zpool2d" not in module.OPS or len(windows) > module.MAX_WINDOWS:
        return False
    return {x.dtype, min_std.dtype} == {torch.float32}


def _is_on_gpu(x: Tensor, windows: tuple[int, ...]) -> bool:
    """Whether these are arrays of a GPU that the kernels take, as far as that can be told without their shapes."""
    if x.device.type != "cuda" or "zpool2d" not in cuda_library.offered():
        return False
    return len(windows) <= cuda.MAX_WINDOWS and str(x.dtype).removeprefix("torch.") in cuda.DTYPES


def _empty(x: Tensor, windows: list[int]) -> Tensor:
    return torch.empty((x.shape[0], len(windows) + 1, *x.shape[1:]), dtype=x.dtype, device=x.device)


def _register() -> None:
    operator = torch.library.custom_op(NAME, zpool2d, mutates_args=(), device_types="cpu")
    operator.register_kernel("cuda")(zpool2d_on_gpu)
    operator.register_fake(lambda x, min_std, windows, *, magnitude: _empty(x, windows))


_register()
