"""The wheel, as a stranger gets it: complete, without a compiler, without torch, without system libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
LISTING = Path(__file__).with_name("wheel_files.txt")
NO_COMPILER = {"CC": "/bin/false", "CXX": "/bin/false", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
LIBRARIES_OF_BARE_DEBIAN = {
    # libc6, libgcc-s1 and libstdc++6 (apt is written in C++)
    "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libanl.so.1", "libc.so.6", "libcrypt.so.1", "libdl.so.2",
    "libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "libresolv.so.2", "librt.so.1", "libstdc++.so.6", "libutil.so.1",
    "linux-vdso.so.1",
    # what python3 brings
    "libbz2.so.1.0", "libcrypto.so.3", "libexpat.so.1", "libffi.so.8", "liblzma.so.5", "libsqlite3.so.0", "libssl.so.3",
    "libuuid.so.1", "libz.so.1",
}  # fmt: skip
FOR_OTHER_DEVICES = {"libopenvino_intel_gpu_plugin.so"}
"""Loaded only when an Intel GPU is asked for; it links the driver's own library."""


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def committed(repository, tmp_path_factory) -> Path:
    """What is committed, so that a stray file of the checkout cannot be in what is built from it."""
    source = tmp_path_factory.mktemp("source")
    archive = source / "tree.tar"
    run("git", "archive", "--output", archive, "HEAD", cwd=repository)
    run("tar", "-xf", archive, "-C", source)
    archive.unlink()
    return source


@pytest.fixture(scope="module")
def wheel(committed, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", target, committed)
    run(sys.executable, "-m", "pip", *build, env=os.environ | NO_COMPILER)
    return next(target.glob("imdl_sdk-*.whl"))


@pytest.fixture(scope="module")
def environment(repository, wheel, tmp_path_factory) -> Path:
    """An empty environment into which only the wheel and its extra for CPUs were installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:")
    run(*pip, "--constraint", repository / "constraints.txt", f"{wheel}[cpu]", env=os.environ | NO_COMPILER)
    return folder


def test_wheel_is_pure_python_and_holds_the_listed_files(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = sorted(name for name in archive.namelist() if ".dist-info/" not in name)
    assert files == LISTING.read_text(encoding="utf-8").split(), (
        "the wheel's files changed; if on purpose: python tests/golden/make_wheel_files.py"
    )


def test_source_distribution_holds_what_make_native_builds_from(committed, tmp_path):
    program = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", program, tmp_path, cwd=committed)
    with tarfile.open(next(tmp_path.glob("imdl_sdk-*.tar.gz"))) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    kernels = {str(path.relative_to(committed)) for path in (committed / "kernels").rglob("*") if path.is_file()}
    assert {"Makefile", "constraints.txt", "pyproject.toml"} | kernels <= files


def test_environment_has_no_torch(environment):
    installed = json.loads(run(environment / "bin" / "python", "-m", "pip", "list", "--format", "json"))
    assert not {"torch", "onnx", "onnxscript", "opencv-python"} & {package["name"] for package in installed}


def test_installed_package_analyses_a_photograph(environment, repository, tmp_path):
    photograph = repository / "sdk" / "samples" / "gun.jpg"
    program = "import sdk, sys; print(sdk.__file__); print(sdk.analyze(sys.argv[1]).to_json())"
    where, analysis = run(environment / "bin" / "python", "-c", program, photograph, cwd=tmp_path).splitlines()
    assert where.startswith(str(environment))
    assert json.loads(analysis)["size"] == {"height": 600, "width": 800}


def test_command_is_installed_and_runs_the_demo(environment, tmp_path):
    run(environment / "bin" / "imdl", "demo", cwd=tmp_path)
    assert len(list(tmp_path.rglob("*.*"))) >= 8


def needed(library: Path) -> dict[str, str]:
    """Where the loader finds each library that ``library`` needs; an empty place for one that it does not find."""
    listing = subprocess.run(["ldd", library], capture_output=True, text=True, check=False).stdout
    lines = [line.split("=>") for line in listing.splitlines() if ".so" in line]
    names = {parts[0].split()[0].rpartition("/")[2]: parts[-1].strip() for parts in lines}
    return {name: "" if "not found" in place else place for name, place in names.items()}


def test_native_libraries_need_only_what_a_bare_debian_has(environment):
    libraries = [path for path in environment.rglob("*.so*") if path.is_file() and path.name not in FOR_OTHER_DEVICES]
    bundled = {path.name for path in libraries}
    lacking = {
        f"{library.name} needs {name}"
        for library in libraries
        for name, place in needed(library).items()
        if name not in LIBRARIES_OF_BARE_DEBIAN and name not in bundled and not place.startswith(str(environment))
    }
    assert libraries
    assert not sorted(lacking)
