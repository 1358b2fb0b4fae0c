"""Build a kernel's CUDA source for the CPU, and run it there in any order of threads."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from kernels import cuda_library
from kernels.cuda_library import fingerprint

KERNELS = Path(__file__).parents[2] / "kernels"
SANITIZED = os.environ.get("SANITIZED") == "1"  # set by the test that runs the others again under AddressSanitizer
COMPILE = ("g++", "-std=c++20", "-O1", "-g1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas")
SANITIZE = ("-fsanitize=address",) if SANITIZED else ()
LINK = ("-fno-strict-aliasing", "-fPIC", "-shared", "-pthread", f"-I{KERNELS}")
BARRIER = re.compile(r"__sync(threads|warp)\(|copies_arrived\(")


class Settings(ctypes.Structure):
    """``cuda_on_cpu::Settings``, with a few multiprocessors so that small work is split as large work is."""

    _fields_ = (
        ("seed", ctypes.c_uint),
        ("workers", ctypes.c_uint),
        ("capability", ctypes.c_int),
        ("multiprocessors", ctypes.c_int),
        ("shared_limit", ctypes.c_size_t),
        ("without_file", ctypes.c_char * 64),
        ("without_line", ctypes.c_uint),
    )


def build(source: Path, folder: Path, *options: str) -> ctypes.CDLL:
    """The library of a ``.cu`` file, from ``folder`` if its text and that of all headers were compiled before."""
    content = fingerprint(source, *COMPILE, *SANITIZE, *LINK, *options)
    library = folder / f"{source.stem}-{content}.so"
    if not library.exists():
        unfinished = library.with_suffix(f".{os.getpid()}")
        command = [*COMPILE, *SANITIZE, *LINK, *options, "-x", "c++", source, "-o", unfinished]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        unfinished.replace(library)
    loaded = ctypes.CDLL(str(library))
    loaded.cuda_on_cpu_message.restype = ctypes.c_char_p
    return loaded


def joined(source: Path, *parts: Path, text: str = "") -> Path:
    """Write ``source`` of ``parts`` one after the other, and ``text``; answers it.

    It names what it is made of, so that it is built anew with that and with any header.
    """
    headers = sorted(KERNELS.glob("*/*.*h"))
    known = hashlib.sha256(b"".join(part.read_bytes() for part in [*parts, *headers])).hexdigest()
    source.write_text("\n".join([f"// {known}", *(f'#include "{part}"' for part in parts), text]) + "\n")
    return source


def with_shells(folder: Path) -> Path:
    """One source in ``folder`` of all kernels with their shells for ONNX Runtime."""
    return joined(folder / "all.cpp", *reversed([*cuda_library.sources(), *cuda_library.shells()]))


def choose(library: ctypes.CDLL, *, without: tuple[str, int] = ("", 0), **settings: object) -> None:
    """Settings of the launches that follow; seed 0, one worker and compute capability 8.0 unless told otherwise.

    ``without`` is one of :func:`barriers`, which is left out.
    """
    file, line = without
    defaults = {"seed": 0, "workers": 1, "capability": 80, "multiprocessors": 16, "shared_limit": 227 << 10}
    chosen = Settings(**defaults | settings, without_file=file.encode(), without_line=line)
    library.cuda_on_cpu_choose(ctypes.byref(chosen))


def message(library: ctypes.CDLL) -> str:
    """What went wrong first since the settings were chosen; empty if nothing did."""
    return library.cuda_on_cpu_message().decode()


def rounded(values: np.ndarray, precision: str) -> np.ndarray:
    """float32 ``values`` in the bits that a kernel reads: float32, float16, or bfloat16 as its upper 16 bits."""
    if precision == "fp32":
        return np.ascontiguousarray(values, np.float32)
    if precision == "fp16":
        return np.ascontiguousarray(values, np.float16)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def widened(stored: np.ndarray) -> np.ndarray:
    """What :func:`rounded` stored, as float64."""
    if stored.dtype == np.uint16:
        return (stored.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return stored.astype(np.float64)


def barriers(*sources: Path) -> list[tuple[str, int]]:
    """File and line of every barrier in ``sources``, and of every wait for copies under way."""
    return [
        (path.name, number)
        for path in sources
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if BARRIER.search(line)
    ]


def under_sanitizer(*command: str) -> subprocess.CompletedProcess[str]:
    """Run ``command`` where kernels are built with AddressSanitizer."""
    find = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    # Python itself is not sanitized: the library has to come first, and what Python leaks is not our concern.
    environment = os.environ | {"SANITIZED": "1", "LD_PRELOAD": find.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=KERNELS.parent)


def same_tests_under_sanitizer(test: Path | str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a file, or one of them, once more, but for the slow ones and those of barriers left out."""
    return under_sanitizer(sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-k", "not left_out", str(test))
