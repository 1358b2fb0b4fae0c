"""What an array of any library tells through DLPack of memory that NumPy cannot read: address, shape, strides, type.

The layout is that of ``dlpack.h`` before version 1, which every library gives that is not asked for a later one.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from sdk.errors import BadFrame

CUDA = 2
"""DLPack's number of memory of an NVIDIA GPU."""
KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}
"""DLPack's codes of element types, as NumPy names them."""


@runtime_checkable
class OnDlpack(Protocol):
    """An array of any library that can hand over its memory."""

    def __dlpack__(self, *, stream: int | None = None) -> object:
        """The capsule; a GPU's work on the memory is done before what is queued on ``stream`` afterwards."""

    def __dlpack_device__(self) -> tuple[int, int]:
        """Kind and number of the device."""


class Described(NamedTuple):
    """Where an array lies and how."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """Bytes."""
    dtype: np.dtype[Any]
    capsule: object
    """Keeps the memory alive, and gives it back when it goes."""


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def is_on_cuda(source: object) -> bool:
    """Whether ``source`` hands over memory of a GPU."""
    if not isinstance(source, OnDlpack):
        return False
    try:
        return int(source.__dlpack_device__()[0]) == CUDA
    except Exception:  # somebody else's method
        return False


def described(source: OnDlpack, *, stream: int | None = None) -> Described:
    """What ``source`` says of its memory; of a GPU's, once the work on it is ordered before that on ``stream``.

    Raises:
        BadFrame: it holds elements that NumPy has no type for.
    """
    capsule = source.__dlpack__() if stream is None else source.__dlpack__(stream=stream)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = _Tensor.from_address(pointer(capsule, b"dltensor"))
    if tensor.code not in KINDS or tensor.lanes != 1:
        raise BadFrame(
            f"the array is of DLPack's type {tensor.code} of {tensor.bits} bits", remedy="give uint8 samples"
        )
    dtype = np.dtype(f"{KINDS[tensor.code]}{tensor.bits // 8}")
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    if tensor.strides:
        strides = tuple(tensor.strides[axis] * dtype.itemsize for axis in range(tensor.ndim))
    else:
        strides = dense(shape, dtype.itemsize)
    return Described((tensor.data or 0) + tensor.byte_offset, shape, strides, dtype, capsule)


def dense(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Strides, bytes, of an array without gaps whose last axis runs fastest."""
    strides = [itemsize]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return tuple(reversed(strides[: len(shape)]))
