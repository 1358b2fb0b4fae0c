"""The CUDA kernels as one library: built with nvcc, loaded with ctypes or by ONNX Runtime. Nothing needs it.

To ONNX Runtime it is custom operators for the CUDA provider. It holds machine code for every architecture in
:data:`ARCHITECTURES` and is linked with CUDA's runtime: of CUDA it asks for nothing but a driver. No GPU has run it
yet; where there is no driver it loads, and every launch says so.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from sysconfig import get_path

from kernels import ops
from kernels.errors import CannotBuild

FOLDER = Path(__file__).parent
"""Where the library lies, and the sources in a checkout."""
NAME = "_cuda.so"
BUILDS = FOLDER.parent / "build" / "cuda"
"""Where objects are kept between runs; git ignores it."""
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
"""Compute capabilities, ten times the major plus the minor: Turing, Ampere (data centre, desktop), Ada, Hopper,
Blackwell (data centre, desktop). One with a higher minor version runs the code of the lower; what is newer than the
last compiles its intermediate code. There is none for 11.0."""
_OPTIONS = ("-std=c++17", "-O3", "-Xcompiler=-fPIC,-Wall,-Wextra", "-Xptxas=-v", f"-I{FOLDER}")


def sources() -> list[Path]:
    """One ``.cu`` file to an operator."""
    return sorted(FOLDER.glob("*/*.cu"))


def shells() -> list[Path]:
    """What hands ONNX Runtime's arrays to the operators."""
    return [*sorted(FOLDER.glob("*/onnxruntime_cuda_op.cc")), *FOLDER.glob("native/onnxruntime_cuda_library.cc")]


def plugins() -> list[Path]:
    """What hands TensorRT's arrays to the operators, by its C++ interface; built by CMake, against its headers."""
    return [*sorted(FOLDER.glob("*/tensorrt_v3_plugin.cc")), *FOLDER.glob("native/tensorrt_library.cc")]


def path() -> Path | None:
    """The library, if there is one and it loads: what ``register_custom_ops_library`` wants."""
    return FOLDER / NAME if cuda() else None


def missing() -> list[str]:
    """What a build needs and does not find, one sentence each with its remedy; empty if nothing is missing."""
    found = {
        "no sources: this is an installed package; build in a checkout": sources(),
        "no nvcc: pip install 'imdl-sdk[nvcc]', or put that of CUDA 13 on PATH": compiler(),
        "no g++, which nvcc calls: apt-get install g++": shutil.which("g++"),
    }
    return [sentence for sentence, thing in found.items() if not thing]


def fingerprint(source: Path, *options: str) -> str:
    """Changes with the text of ``source``, of any header it may include, and of ``options``."""
    content = hashlib.sha256(repr(options).encode())
    for path in (source, *sorted((FOLDER / "native").glob("*.h")), *sorted(source.parent.glob("*.*h"))):
        content.update(path.read_bytes())
    return content.hexdigest()[:16]


def compiled(source: Path, architectures: tuple[int, ...] = ARCHITECTURES) -> tuple[Path, str]:
    """The object of ``source``, and what ptxas said of its kernels; from the last time, if nothing changed since.

    Raises :class:`kernels.errors.CannotBuild`.
    """
    lacking = missing()
    if lacking:
        raise CannotBuild("the CUDA library cannot be built", remedy="; ".join(lacking))
    targets = [f"-gencode=arch=compute_{each},code=sm_{each}" for each in architectures]
    targets.append(f"-gencode=arch=compute_{architectures[-1]},code=compute_{architectures[-1]}")
    options = (*_OPTIONS, *targets, *(() if source.suffix == ".cu" else ("-x=cu",)))
    content = fingerprint(source, _nvcc("--version"), *options)
    BUILDS.mkdir(parents=True, exist_ok=True)
    target = BUILDS / f"{source.stem}-{content}.o"
    report = target.with_suffix(".txt")
    with (BUILDS / "lock").open("w") as lock:  # two runs of the tests may want the same object
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target.exists() and report.exists()):
            report.write_text(_nvcc(*options, "-c", str(source), "-o", str(target)), encoding="utf-8")
    return target, report.read_text(encoding="utf-8")


def cubin(source: Path, architecture: int) -> tuple[bytes, str]:
    """Machine code of ``source`` for one architecture, and what ptxas said of its kernels.

    It is what TensorRT's ahead-of-time plugins carry into an engine. Raises :class:`kernels.errors.CannotBuild`.
    """
    lacking = missing()
    if lacking:
        raise CannotBuild("kernels cannot be compiled", remedy="; ".join(lacking))
    content = fingerprint(source, _nvcc("--version"), *_OPTIONS, str(architecture))
    BUILDS.mkdir(parents=True, exist_ok=True)
    target = BUILDS / f"{source.parent.name}-{source.stem}-{content}.cubin"
    report = target.with_suffix(".txt")
    if not target.exists():
        fresh = target.with_suffix(f".{os.getpid()}")
        to = ("-cubin", "-x=cu", str(source), "-o", str(fresh))
        report.write_text(_nvcc(*_OPTIONS, f"-arch=sm_{architecture}", *to), encoding="utf-8")
        fresh.replace(target)
    return target.read_bytes(), report.read_text(encoding="utf-8")


def build(target: Path, architectures: tuple[int, ...] = ARCHITECTURES) -> Path:
    """Build the library as the file ``target`` and return that. Raises :class:`kernels.errors.CannotBuild`."""
    objects = [str(compiled(source, architectures)[0]) for source in [*sources(), *shells()]]
    fresh = target.with_suffix(".new")
    _nvcc("-shared", *objects, "-o", str(fresh))
    return fresh.replace(target)  # a process that has the old one loaded keeps it


def install() -> Path:
    """Build the library where :func:`cuda` looks for it. Raises :class:`kernels.errors.CannotBuild`."""
    return build(FOLDER / NAME)


@functools.cache
def cuda() -> ctypes.CDLL | None:
    """The library, loaded once: what ``kernels.<op>.cuda`` takes; None if it is not there or does not load."""
    try:
        return ctypes.CDLL(str(FOLDER / NAME))
    except OSError:
        return None


def reason_against() -> str | None:
    """Why there is no library, in one sentence; None where there is one."""
    file = FOLDER / NAME
    if not file.is_file():
        return "not built: python -m kernels cuda builds it in a checkout"
    try:
        ctypes.CDLL(str(file))
    except OSError as error:
        return f"{file.name} does not load: {error}"
    return None


def offered() -> dict[str, str]:
    """Every operator that is in the library here, in words; whether there is a GPU is another question."""
    loaded = cuda()
    return {op: "native in CUDA" for op in ops() if loaded and hasattr(loaded, f"{op}_launch")}


def compiler() -> str | None:
    """The nvcc that pip put into this environment, which was asked for by version, or else that on PATH."""
    from_pip = str(Path(get_path("purelib"), "nvidia", "cu13", "bin"))
    return shutil.which("nvcc", path=from_pip) or shutil.which("nvcc")


def environment() -> dict[str, str]:
    """What a linker is run with: pip puts CUDA's runtime into ``lib``, where the nvcc beside it does not look."""
    found, known = compiler(), os.environ.get("LIBRARY_PATH")
    folders = [*([str(Path(found).parents[1] / "lib")] if found else []), *([known] if known else [])]
    return os.environ | ({"LIBRARY_PATH": os.pathsep.join(folders)} if folders else {})


def _nvcc(*arguments: str) -> str:
    command = [compiler() or "nvcc", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    if done.returncode:
        raise CannotBuild(f"nvcc failed:\n{done.stdout}{done.stderr}", remedy="read its last lines")
    return done.stdout + done.stderr
