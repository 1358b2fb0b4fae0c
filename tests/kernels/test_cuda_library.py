"""The CUDA sources compile for every architecture within a committed budget of registers, and spill none.

The budget is of the compiler in constraints.txt; others divide registers otherwise.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from kernels import __main__, cuda_library
from kernels.errors import CannotBuild

BUDGET = Path(__file__).with_name("cuda_budget.json")
FOLDER = cuda_library.FOLDER
SHIPPED = [
    *cuda_library.sources(),
    FOLDER / "zpool2d" / "onnxruntime_cuda_op.cc",
    *sorted(FOLDER.glob("*/tensorrt_kernels.cc")),
]
"""What has kernels in it: in the library, and in the machine code that TensorRT's engines carry."""
BUDGETED_ELSEWHERE = {FOLDER / "zpool2d" / "tensorrt_v3_plugin.cc"}
"""Its one kernel is that of floor.cuh, which ONNX Runtime's shell holds too."""
KERNEL = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for 'sm_(?P<architecture>\d+)'.*?"
    r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers",
    re.DOTALL,
)


def demangled(names: list[str]) -> list[str]:
    """``op<type, number>`` for the mangled name of each kernel."""
    done = subprocess.run(["c++filt", "-p"], input="\n".join(names), capture_output=True, text=True, check=True)
    return [re.sub(r"\(anonymous namespace\)::|sccm_attention::|void ", "", name) for name in done.stdout.split("\n")]


def used(source: Path) -> dict[str, dict[str, int]]:
    """Registers of a thread, by kernel and architecture. Fails where any are spilled."""
    found = list(KERNEL.finditer(cuda_library.compiled(source)[1]))
    registers: dict[str, dict[str, int]] = {}
    for match, name in zip(found, demangled([match["name"] for match in found]), strict=False):
        assert match["stores"] == match["loads"] == "0", f"{name} spills registers on sm_{match['architecture']}"
        registers.setdefault(name, {})[match["architecture"]] = int(match["registers"])
    return registers


@pytest.mark.slow
@pytest.mark.parametrize("source", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_registers_stay_within_the_budget_on_every_architecture(source):
    if cuda_library.missing():
        pytest.skip(f"CUDA sources are not compiled: {'; '.join(cuda_library.missing())}")
    budgets = json.loads(BUDGET.read_text(encoding="utf-8"))
    measured, budget = used(source), budgets[str(source.relative_to(FOLDER))]
    assert measured.keys() == budget.keys()
    for kernel, registers in measured.items():
        assert registers.keys() == {str(each) for each in cuda_library.ARCHITECTURES}
        highest = max(registers.values())
        assert highest <= budget[kernel], f"{kernel} takes {registers}"


def test_no_kernel_is_left_out_of_the_budget():
    parts = sorted(FOLDER.glob("*/*.c[cu]"))
    texts = {part: part.read_text(encoding="utf-8") for part in parts}
    headers = [header for header in FOLDER.glob("*/*.cuh") if "__global__" in header.read_text("utf-8")]
    named = [f'"{header.parent.name}/{header.name}"' for header in headers]
    holding = {part for part, text in texts.items() if "__global__" in text or any(name in text for name in named)}
    assert holding == {*SHIPPED, *BUDGETED_ELSEWHERE}


def test_without_nvcc_a_build_says_what_to_do(monkeypatch):
    monkeypatch.setattr(cuda_library.shutil, "which", lambda name, path=None: None)
    with pytest.raises(CannotBuild, match="cannot be built\n  -> no nvcc: pip install"):
        cuda_library.install()


def test_the_nvcc_of_the_environment_goes_before_that_on_path(monkeypatch, tmp_path):
    from_pip, on_path = tmp_path / "nvidia" / "cu13" / "bin" / "nvcc", tmp_path / "elsewhere" / "nvcc"
    monkeypatch.setattr(cuda_library, "get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.setenv("LIBRARY_PATH", "known")
    assert cuda_library.compiler() is None
    assert cuda_library.environment() == os.environ
    for nvcc in (on_path, from_pip):
        nvcc.parent.mkdir(parents=True)
        nvcc.touch(mode=0o755)
        assert cuda_library.compiler() == str(nvcc)
    folders = f"{tmp_path / 'nvidia' / 'cu13' / 'lib'}{os.pathsep}known"
    assert cuda_library.environment() == os.environ | {"LIBRARY_PATH": folders}


def test_the_command_builds_the_cuda_library_or_says_what_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cuda_library.shutil, "which", lambda name, path=None: None)
    assert __main__.main(["cuda"]) == 1
    assert "-> no nvcc" in capsys.readouterr().err
    monkeypatch.setattr(cuda_library, "install", lambda: tmp_path / cuda_library.NAME)
    assert __main__.main(["cuda"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / cuda_library.NAME}\n"


def test_a_library_that_is_not_there_or_does_not_load_is_none_and_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(cuda_library, "FOLDER", tmp_path)
    cuda_library.cuda.cache_clear()
    assert cuda_library.cuda() is None
    assert cuda_library.reason_against() == "not built: python -m kernels cuda builds it in a checkout"
    (tmp_path / cuda_library.NAME).write_bytes(b"no library")
    assert str(cuda_library.reason_against()).startswith("_cuda.so does not load: ")
    cuda_library.cuda.cache_clear()
