"""The native library is found, or the reason why not is; building says what it lacks."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

import kernels
from kernels import __main__, build, library
from kernels.errors import CannotBuild


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An empty folder in which the library is looked for."""
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    library.native.cache_clear()
    yield tmp_path
    library.native.cache_clear()


def test_a_built_library_is_found_and_says_what_it_offers(native: ModuleType):
    assert library.reason_against() is None
    assert library.path() == Path(native.__file__)
    assert library.offered() == {"zpool2d": "native on the CPU"}
    assert set(library.offered()) <= set(kernels.ops())


def test_nothing_built_is_a_reason_and_no_error(folder: Path):
    assert library.reason_against() == "not built: make native builds it in a checkout"
    assert library.path() is None
    assert library.native() is None
    assert library.offered() == {}


def test_a_library_for_another_python_is_named(folder: Path):
    (folder / "_native.cpython-27-elsewhere.so").touch()
    assert library.reason_against().startswith("_native.cpython-27-elsewhere.so is not for this Python, which loads ")


def test_a_library_that_does_not_load_is_a_reason_in_the_loaders_words(folder: Path):
    (folder / library.file_name()).write_bytes(b"no library")
    assert library.native() is None
    assert f"{library.file_name()} does not load: " in library.reason_against()
    assert library.path() is None


def test_building_installs_what_is_then_loaded(native_file: Path, folder: Path, monkeypatch, capsys):
    monkeypatch.setattr(build, "build", lambda: native_file)
    assert __main__.main([]) == 0
    assert library.path() == folder / native_file.name
    assert capsys.readouterr().out.splitlines()[1:] == [
        "area_shrink: no native form, standard operators",
        "sccm_attention: no native form, standard operators",
        "zpool2d: native on the CPU",
    ]


def test_plugins_for_tensorrt_are_put_where_the_sdk_looks(folder: Path, tmp_path, monkeypatch, capsys):
    assert library.plugins() is None
    (built := tmp_path / "build" / library.PLUGINS).parent.mkdir()
    built.write_bytes(b"plugins")
    asked = []
    monkeypatch.setattr(build, "tensorrt", lambda root: asked.append(root) or built)
    assert __main__.main(["tensorrt", "/opt/tensorrt"]) == 0
    assert asked == [Path("/opt/tensorrt")]
    assert library.plugins() == folder / "_tensorrt.so"
    assert capsys.readouterr().out == f"{folder / '_tensorrt.so'}\n"
    assert (folder / "_tensorrt.so").read_bytes() == b"plugins"
    assert library.reason_against() == "not built: make native builds it in a checkout"


@pytest.mark.parametrize(
    ("tool", "sentence"),
    [
        ("c++", r"no C\+\+ compiler c\+\+: apt-get install g\+\+, or set CXX"),
        ("make", "no make: apt-get install make"),
        ("cmake", "no cmake: pip install cmake"),
    ],
)
def test_what_a_build_lacks_is_named_with_its_remedy(monkeypatch, tool, sentence, capsys):
    which = shutil.which
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if name == tool else which(name, path=path))
    with pytest.raises(CannotBuild, match=f"the native library cannot be built\n  -> (.*\n)*.*{sentence}"):
        build.build("nothing")
    assert __main__.main([]) == 1
    assert "cannot be built" in capsys.readouterr().err


def test_pybind11_and_the_headers_of_python_are_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    monkeypatch.setattr(build.sysconfig, "get_path", lambda name: str(tmp_path))
    assert {"no pybind11: pip install pybind11", "no Python.h: apt-get install python3-dev"} <= set(build.missing())


def test_an_installed_package_has_nothing_to_build(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    assert build.missing()[0].startswith("no sources: this is an installed package")


def test_a_compiler_that_fails_shows_its_words(native_file: Path, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "BUILDS", tmp_path)
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    (tmp_path / "CMakeLists.txt").write_text("message(FATAL_ERROR wrong)\n", encoding="utf-8")
    with pytest.raises(CannotBuild, match=r"(?s)cmake -S .* failed:.*wrong"):
        build.build("broken")


def test_the_module_is_named_for_the_package(native: ModuleType):
    assert native.__name__ == "kernels._native"
    assert sys.modules.get("kernels._native") is None  # not an import that another import could find half made
