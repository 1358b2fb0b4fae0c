"""The launcher in ``sccm_attention_cuda.h`` for Python: device addresses in, an ``SCCMAttention`` on a stream out."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

DTYPES = {"float32": 0, "float16": 1, "bfloat16": 2}


class _Launch(ctypes.Structure):
    """``SCCMAttentionCuda``, field by field."""

    _fields_ = (
        ("theta", ctypes.c_void_p),
        ("phi", ctypes.c_void_p),
        ("g", ctypes.c_void_p),
        ("spatial", ctypes.c_void_p),
        ("channel", ctypes.c_void_p),
        ("b", ctypes.c_int64),
        ("d", ctypes.c_int64),
        ("n", ctypes.c_int64),
        ("dtype", ctypes.c_int),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """One ``SCCMAttention``, but for where its arrays lie."""

    shape: tuple[int, int, int]
    """Of theta, phi and g: batch, channels, positions."""
    dtype: str = "float16"
    """Of all arrays: float32, float16 or bfloat16."""

    def reason_against(self, library: ctypes.CDLL) -> str | None:
        """Why the kernels in ``library`` cannot do this; None if they can."""
        if self.dtype not in DTYPES:
            return f"dtype is {self.dtype}"
        library.sccm_attention_reason_against.restype = ctypes.c_char_p
        reason: bytes | None = library.sccm_attention_reason_against(ctypes.byref(self._launch()))
        return None if reason is None else reason.decode()

    def workspace_bytes(self, library: ctypes.CDLL) -> int:
        """Bytes of memory of the current device that :meth:`launch` needs for itself."""
        library.sccm_attention_workspace_bytes.restype = ctypes.c_size_t
        return int(library.sccm_attention_workspace_bytes(ctypes.byref(self._launch())))

    def launch(self, library: ctypes.CDLL, arrays: Sequence[int], *, workspace: int, stream: int = 0) -> None:
        """Put the work on a stream of the current device; it may still run when this returns.

        ``arrays`` are the device addresses of theta, phi, g, spatial and channel, dense, in the order and shapes of
        ``sccm_attention_cuda.h``. Raises ValueError with the reason against it, or with CUDA's error code.
        """
        reason = self.reason_against(library)
        if reason:
            remedy = "kernels.sccm_attention.functional.sccm_attention"
            raise ValueError(f"SCCMAttention was not launched: {reason}\n  -> {remedy}")
        work = self._launch(*arrays)
        address, on = ctypes.c_void_p(workspace), ctypes.c_void_p(stream)
        status = library.sccm_attention_launch(ctypes.byref(work), address, on)
        if status != 0:
            remedy = "cudaError_t says what it is; 35 is a driver missing or too old"
            raise ValueError(f"SCCMAttention was not launched: CUDA error {status}\n  -> {remedy}")

    def _launch(self, *arrays: int) -> _Launch:
        return _Launch(*(arrays or (0,) * 5), *self.shape, DTYPES[self.dtype])
