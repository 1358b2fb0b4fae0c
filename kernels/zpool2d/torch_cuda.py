"""``ZPool2D`` on torch tensors through the CUDA launcher; without gradients."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from kernels import torch_stream
from kernels.zpool2d.cuda import Work
from kernels.zpool2d.functional import WINDOWS


def zpool2d(
    library: ctypes.CDLL,  # kernels.cuda_library.cuda(), or a build for the CPU and tensors in main memory
    x: Tensor,  # [N, C, H, W] float32, float16 or bfloat16
    min_std: Tensor,  # [C]
    *,
    windows: tuple[int, ...] = WINDOWS,  # px, odd
    magnitude: bool = True,
) -> Tensor:  # [N, len(windows) + 1, C, H, W] of the type of x
    """:func:`.reference.zpool2d` on the current stream.

    Raises ValueError with the reason where it is not offered, and where the kernel would read beyond an array.
    """
    if x.dim() != 4 or min_std.shape != x.shape[1:2] or min_std.device != x.device:
        raise ValueError(
            f"x is {list(x.shape)} on {x.device}, min_std {list(min_std.shape)} on {min_std.device}\n"
            "  -> give [N, C, H, W] and [C] on one device"
        )
    x, floor = x.detach().contiguous(), min_std.detach().float().contiguous()
    n, c, h, w = x.shape
    work = Work(shape=(n, c, h, w), windows=windows, magnitude=magnitude, dtype=str(x.dtype).removeprefix("torch."))
    reason = work.reason_against(library)
    if reason:
        raise ValueError(f"ZPool2D has no kernel for this: {reason}\n  -> kernels.zpool2d.functional.zpool2d")
    z = x.new_empty((n, len(windows) + 1, c, h, w))
    with torch_stream.current(x) as stream:
        workspace = x.new_empty(work.workspace_bytes(library), dtype=torch.uint8)
        addresses = [tensor.data_ptr() for tensor in (x, floor, z)]
        work.launch(library, addresses, workspace=workspace.data_ptr(), stream=stream)
    return z
