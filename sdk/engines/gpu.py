"""What NVML knows about the GPUs of this machine. Asking CUDA would spoil a later fork, and take memory of the GPU."""

from __future__ import annotations

import ctypes


def count() -> int:
    """Number of NVIDIA GPUs; 0 without a driver."""
    nvml = _nvml()
    found = ctypes.c_uint(0)
    if nvml is None or nvml.nvmlDeviceGetCount_v2(ctypes.byref(found)):
        return 0
    return found.value


def target() -> str | None:
    """Compute capability of the first GPU as ``sm_90``; None where there is no GPU."""
    nvml, device = _nvml(), ctypes.c_void_p()
    major, minor = ctypes.c_int(), ctypes.c_int()
    if nvml is None or nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)):
        return None
    if nvml.nvmlDeviceGetCudaComputeCapability(device, ctypes.byref(major), ctypes.byref(minor)):
        return None
    return f"sm_{major.value}{minor.value}"


def _nvml() -> ctypes.CDLL | None:
    """The library, initialised: which may be done any number of times, and holds nothing of the GPU."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return None if nvml.nvmlInit_v2() else nvml
