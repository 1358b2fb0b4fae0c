"""Launches that an operator describes to TensorRT, done on the CPU with its kernels built for it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from kernels.tensorrt_launch import Array, Launch
from tests.kernels import cuda_on_cpu

RUNNER = """
#include <tuple>
#include <type_traits>

// As TensorRT does it: whatever the kernel's parameters are, addresses and numbers in their order.
template <class T>
T taken(void* const*& addresses, const int*& numbers) {
  if constexpr (std::is_pointer_v<T>) {
    return static_cast<T>(*addresses++);
  } else {
    return *numbers++;
  }
}
template <class... Parameters>
int run(void (*kernel)(Parameters...), const int* how, void* const* addresses, const int* numbers) {
  const std::tuple<Parameters...> given{taken<Parameters>(addresses, numbers)...};
  return std::apply(
      [&](auto... each) {
        return launch(kernel, dim3(how[0], how[1], how[2]), dim3(how[3]), how[4], nullptr, each...);
      },
      given);
}
#define RUN(name)                                                                              \\
  extern "C" int run_##name(const int* how, void* const* addresses, const int* numbers) {      \\
    return run(name, how, addresses, numbers);                                                 \\
  }
"""
STORED = {"fp32": np.float32, "fp16": np.float16, "bf16": np.uint16}
"""What numbers lie in, as :func:`tests.kernels.cuda_on_cpu.rounded` has it."""


def library(
    on_cpu: Callable[[Path], ctypes.CDLL], source: Path, kernels: Path, names: Iterable[str], text: str = ""
) -> ctypes.CDLL:
    """The file ``kernels``, and ``text``, built by way of ``source``; :func:`done` launches those of ``names``."""
    runners = "".join(f"RUN({name})\n" for name in names)
    return on_cpu(cuda_on_cpu.joined(source, kernels, text=RUNNER + runners + text))


def done(library: ctypes.CDLL, launch: Launch, *inputs: np.ndarray) -> list[np.ndarray]:
    """The outputs of a launch: not a number until they are written, at addresses as TensorRT's."""
    outputs = [empty(each) for each in launch.outputs]
    arrays = [*inputs, *outputs]
    how = (*(*launch.grid, 1, 1)[:3], launch.block, launch.shared)
    addresses = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
    numbers = (ctypes.c_int * len(launch.arguments))(*launch.arguments)
    assert getattr(library, f"run_{launch.kernel}")((ctypes.c_int * 5)(*how), addresses, numbers) == 0, launch
    assert not cuda_on_cpu.message(library)
    return outputs


def empty(array: Array) -> np.ndarray:
    """Memory for an array that holds what is not a number in any type."""
    dtype = np.dtype(STORED[array.precision])
    size = int(np.prod(array.shape)) * dtype.itemsize
    memory = np.full(size + 16, 0xFF, np.uint8)
    start = -memory.ctypes.data % 16
    return memory[start : start + size].view(dtype).reshape(array.shape)


def described(array: np.ndarray, precision: str) -> Array:
    """What TensorRT knows of an array."""
    return Array(array.shape, precision)
