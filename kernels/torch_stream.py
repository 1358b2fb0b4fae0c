"""Where torch wants work put on a GPU."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def current(x: Tensor) -> Generator[int]:
    """Make the device of ``x`` the current one; yields the address of its current stream, 0 in main memory."""
    if not x.is_cuda:
        yield 0
        return
    with torch.cuda.device(x.device):
        yield torch.cuda.current_stream().cuda_stream
