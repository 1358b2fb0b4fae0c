"""``zpool2d`` of the native library as an operator of torch: float32, on the CPU, without gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from kernels import library

NAME = "forensics::zpool2d"


def serves(x: Tensor, min_std: Tensor, windows: tuple[int, ...]) -> bool:
    """Whether the native library can take over from torch for these inputs, here and now.

    Not where a gradient is wanted, and not while torch compiles: it makes better code around operators that it knows.
    """
    module = library.native()
    if module is None or "zpool2d" not in module.OPS or len(windows) > module.MAX_WINDOWS:
        return False
    wants_gradient = torch.is_grad_enabled() and (x.requires_grad or min_std.requires_grad)
    is_float32 = x.dtype == min_std.dtype == torch.float32
    is_on_cpu = x.device.type == min_std.device.type == "cpu" and type(x) is Tensor
    return is_on_cpu and is_float32 and not wants_gradient and not torch.compiler.is_compiling()


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


def _empty(x: Tensor, windows: list[int]) -> Tensor:
    return torch.empty((x.shape[0], len(windows) + 1, *x.shape[1:]), dtype=x.dtype, device=x.device)


def _register() -> None:
    operator = torch.library.custom_op(NAME, zpool2d, mutates_args=(), device_types="cpu")
    operator.register_fake(lambda x, min_std, windows, *, magnitude: _empty(x, windows))


_register()
