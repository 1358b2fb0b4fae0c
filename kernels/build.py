"""Build the native library with CMake, from a checkout."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from kernels import cuda_library, library
from kernels.errors import CannotBuild

SOURCES = Path(__file__).parent
BUILDS = SOURCES.parent / "build"
"""Where builds are kept between runs; git ignores it."""


def missing() -> list[str]:
    """What a build needs and does not find, one sentence each with its remedy; empty if nothing is missing."""
    compiler = os.environ.get("CXX") or "c++"
    found = {
        "no sources: this is an installed package; build in a checkout": (SOURCES / "CMakeLists.txt").is_file(),
        f"no C++ compiler {compiler}: apt-get install g++, or set CXX": shutil.which(compiler),
        "no make: apt-get install make": shutil.which("make"),
        "no Python.h: apt-get install python3-dev": Path(sysconfig.get_path("include"), "Python.h").is_file(),
        "no cmake: pip install cmake": _cmake(),
        "no pybind11: pip install pybind11": find_spec("pybind11"),
    }
    return [sentence for sentence, thing in found.items() if not thing]


def build(folder: str = "native", *, target: str = "_native") -> Path:
    """Build the library in ``folder`` of :data:`BUILDS`, only what changed, and return its file.

    The target ``sanitized`` has AddressSanitizer and UndefinedBehaviorSanitizer; it loads only where their runtime was
    loaded first. Raises :class:`kernels.errors.CannotBuild`.
    """
    return _made(folder, target) / ("" if target == "_native" else target) / library.file_name()


def tensorrt(
    root: Path, *, folder: str = "tensorrt", architectures: tuple[int, ...] = cuda_library.ARCHITECTURES
) -> Path:
    """Build the plugins for TensorRT's C++ interface against the headers in ``root``, and return their library.

    Raises :class:`kernels.errors.CannotBuild`.
    """
    if not any((root / each / "NvInferRuntime.h").is_file() for each in ("", "include")):
        raise CannotBuild(
            f"no NvInferRuntime.h in {root}", remedy="name the folder of TensorRT 10 or 11, or its headers"
        )
    lacking = cuda_library.missing()
    if lacking:
        raise CannotBuild("the plugins for TensorRT cannot be built", remedy="; ".join(lacking))
    cards = ";".join(map(str, architectures))
    found = (f"-DTENSORRT_ROOT={root.resolve()}", f"-DCMAKE_CUDA_COMPILER={cuda_library.compiler()}")
    return _made(folder, "tensorrt_plugins", *found, f"-DCMAKE_CUDA_ARCHITECTURES={cards}") / library.PLUGINS


def _made(folder: str, target: str, *settings: str) -> Path:
    """The tree in which ``target`` was built."""
    lacking = missing()
    if lacking:
        raise CannotBuild("the native library cannot be built", remedy="\n  -> ".join(lacking))
    tree = BUILDS / f"{folder}-{sys.implementation.cache_tag}"
    tree.mkdir(parents=True, exist_ok=True)
    with (tree / "lock").open("w") as lock:  # two runs of the tests may want the same build
        fcntl.flock(lock, fcntl.LOCK_EX)
        packages = (f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={_pybind11()}")
        _cmake_run("-S", str(SOURCES), "-B", str(tree), *packages, *settings)
        _cmake_run("--build", str(tree), "--target", target, "--parallel", str(len(os.sched_getaffinity(0))))
    return tree


def install() -> Path:
    """Build the library and put it where :mod:`kernels.library` looks for it."""
    return _put(build())


def install_plugins(root: Path) -> Path:
    """Build those for TensorRT by :func:`tensorrt` and put them there too; ``load_library`` of a registry takes it."""
    return _put(tensorrt(root))


def _put(built: Path) -> Path:
    target = library.FOLDER / built.name
    fresh = target.with_suffix(".new")
    shutil.copy2(built, fresh)
    fresh.replace(target)  # a process that has the old one loaded keeps it
    return target


def _cmake() -> str | None:
    """CMake beside this Python, where pip puts it, or the system's."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("cmake", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))


def _pybind11() -> str:
    done = subprocess.run([sys.executable, "-m", "pybind11", "--cmakedir"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _cmake_run(*arguments: str) -> None:
    command = [_cmake() or "cmake", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=cuda_library.environment())
    if done.returncode:
        raise CannotBuild(
            f"cmake {' '.join(arguments[:2])} failed:\n{done.stdout}{done.stderr}", remedy="read its last lines"
        )
