"""Operators of ours that packages of AOTInductor call, in the native library for their device."""

from __future__ import annotations

import dataclasses
import functools
from importlib import import_module

from kernels import cuda_library, library
from sdk.artifact import digest
from sdk.errors import DeviceUnavailable


@dataclasses.dataclass(frozen=True, slots=True)
class Operators:
    """What one library has."""

    file: str
    """Name of the library."""
    sha256: str
    names: tuple[str, ...]

    def register(self) -> None:
        """Let torch know them: a package asks for them by name when it is loaded."""
        for name in self.names:
            import_module(f"kernels.{name}.torch_op")


@functools.cache
def loaded(device: str) -> Operators:
    """The operators for ``device``, "cpu" or "cuda"; the library is loaded, and this process keeps that one.

    Raises :class:`sdk.errors.DeviceUnavailable` where there is none, or it does not load.
    """
    native = cuda_library if device == "cuda" else library
    file = native.path()
    if file is None:
        problem = f"there is no library with operators of ours for {device}: {native.reason_against()}"
        raise DeviceUnavailable(problem, remedy='build it; backend="aotinductor" needs none')
    return Operators(file.name, digest(file), tuple(native.offered()))
