"""The launcher in ``zpool2d_cuda.h`` for Python: device addresses in, a ``ZPool2D`` on a stream out."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

MAX_WINDOWS = 8
INT_MAX = 2**31 - 1
"""ctypes takes the lower 32 bits of what is larger and says nothing."""
DTYPES = {"float32": 0, "float16": 1, "bfloat16": 2}


class _Launch(ctypes.Structure):
    """``ZPool2DCuda``, field by field."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        ("min_std", ctypes.c_void_p),
        ("z", ctypes.c_void_p),
        ("n", ctypes.c_int64),
        ("c", ctypes.c_int64),
        ("h", ctypes.c_int64),
        ("w", ctypes.c_int64),
        ("dtype", ctypes.c_int),
        ("windows", ctypes.c_int * MAX_WINDOWS),
        ("window_count", ctypes.c_int),
        ("magnitude", ctypes.c_int),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """One ``ZPool2D``, but for where its arrays lie."""

    shape: tuple[int, int, int, int]
    """Of the features: n, c, h, w."""
    windows: tuple[int, ...]
    """Sides of the windows, px, odd."""
    magnitude: bool = True
    dtype: str = "float16"
    """Of features and scores: float32, float16 or bfloat16. The floor is float32."""

    def reason_against(self, library: ctypes.CDLL) -> str | None:
        """Why the kernel in ``library`` cannot do this; None if it can."""
        if self.dtype not in DTYPES:
            return f"dtype is {self.dtype}"
        if len(self.windows) > MAX_WINDOWS:
            return f"there are {len(self.windows)} windows, more than {MAX_WINDOWS}"
        if max(self.windows, default=1) > INT_MAX:
            return f"a window is wider than {INT_MAX} px"
        library.zpool2d_reason_against.restype = ctypes.c_char_p
        reason: bytes | None = library.zpool2d_reason_against(ctypes.byref(self._launch()))
        return None if reason is None else reason.decode()

    def workspace_bytes(self, library: ctypes.CDLL) -> int:
        """Bytes of device memory that :meth:`launch` needs for itself."""
        library.zpool2d_workspace_bytes.restype = ctypes.c_size_t
        return int(library.zpool2d_workspace_bytes(ctypes.byref(self._launch())))

    def launch(self, library: ctypes.CDLL, arrays: Sequence[int], *, workspace: int, stream: int = 0) -> None:
        """Put the work on a stream of the current device; it may still run when this returns.

        ``arrays`` are the device addresses of x, min_std and z, dense, in the order and shapes of ``zpool2d_cuda.h``.
        Raises ValueError with the reason against it, or with CUDA's error code.
        """
        reason = self.reason_against(library)
        if reason:
            raise ValueError(f"ZPool2D was not launched: {reason}\n  -> kernels.zpool2d.functional.zpool2d")
        work = self._launch(*arrays)
        status = library.zpool2d_launch(ctypes.byref(work), ctypes.c_void_p(workspace), ctypes.c_void_p(stream))
        if status != 0:
            remedy = "cudaError_t says what it is; 35 is a driver missing or too old"
            raise ValueError(f"ZPool2D was not launched: CUDA error {status}\n  -> {remedy}")

    def _launch(self, x: int = 0, min_std: int = 0, z: int = 0) -> _Launch:
        windows = (ctypes.c_int * MAX_WINDOWS)(*self.windows)
        code, count = DTYPES[self.dtype], len(self.windows)
        return _Launch(x, min_std, z, *self.shape, code, windows, count, int(self.magnitude))
