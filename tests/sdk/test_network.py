"""The kernel is the witness: an analysis makes no socket of the internet, in Python or in a runtime's own code."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module, metadata

import pytest
from PIL import Image

from sdk.backends import onnxruntime

FORBID = """
import ctypes, struct, sys

SOCKET = {"x86_64": 41, "aarch64": 198}[sys.argv[1]]
INTERNET = (2, 10)  # AF_INET, AF_INET6
FILTER = (  # code, how far to jump if true and if false, constant
    (0x20, 0, 0, 0),  # the system call's number
    (0x15, 0, 4, SOCKET),
    (0x20, 0, 0, 16),  # its first argument
    (0x15, 1, 0, INTERNET[0]),
    (0x15, 0, 1, INTERNET[1]),
    (0x06, 0, 0, 0x80000000),  # kill the process
    (0x06, 0, 0, 0x7FFF0000),  # allow
)
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in FILTER))
program = struct.pack("HP", len(FILTER), ctypes.addressof(code))  # as C aligns it
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
assert libc.prctl(22, 2, program, 0, 0) == 0  # holds for every thread and process that is started from now on
"""
NATIVE = FORBID + "ctypes.CDLL(None).socket(2, 1, 0)"
ANALYSIS = (
    FORBID
    + """
import sdk, sys
for backend in ("onnxruntime", "openvino"):
    with sdk.load(sys.argv[2], backend=backend, threads=1) as analyzer:
        print(analyzer.analyze(sys.argv[3]).verdict)
"""
)


PLAIN = """
import sys, onnxruntime
onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
"""
KEPT = ("LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PATH")
"""What of the environment programs get: variables of CI silence ONNX Runtime, and ours for the tests does."""


@pytest.fixture
def run(tmp_path, repository):
    """Run a program in an empty home."""
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(repository)}
    (tmp_path / "home").mkdir()

    def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, platform.machine(), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    return run


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="system calls have other numbers here")
def test_no_socket_of_the_internet_is_made(run, toy_path, frame, tmp_path):
    assert run(NATIVE).returncode == -signal.SIGSYS, "the witness is blind"
    Image.fromarray(frame).save(tmp_path / "frame.png")
    done = run(ANALYSIS, toy_path, tmp_path / "frame.png")
    assert (done.returncode, done.stdout.split()) == (0, ["no_evidence"] * 2), done.stderr


def test_runtimes_keep_nothing_in_the_home(run, toy_path, frame, tmp_path):
    """ONNX Runtime's reports leave after ten seconds or more; what it keeps for them is there at once."""
    Image.fromarray(frame).save(tmp_path / "frame.png")
    done = run(ANALYSIS.removeprefix(FORBID), toy_path, tmp_path / "frame.png")
    assert (done.returncode, done.stdout.split()) == (0, ["no_evidence"] * 2), done.stderr
    assert list((tmp_path / "home").rglob("*")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere its reports take other ways")
def test_left_alone_onnxruntime_keeps_something(run, toy_path, tmp_path):
    """Or else the witness above sees nothing."""
    version = tuple(map(int, metadata.version("onnxruntime").split(".")[:2]))
    done = run(PLAIN, next(toy_path.glob("*.onnx")))
    assert done.returncode == 0, done.stderr
    assert any((tmp_path / "home").rglob("*")) == (version >= (1, 29))


def test_threads_that_load_at_once_leave_the_environment_as_it_was(monkeypatch):
    monkeypatch.delenv(onnxruntime.SILENCE, raising=False)
    monkeypatch.setattr(onnxruntime, "_runtime", None)
    entered, first_may, second_may = threading.Semaphore(0), threading.Event(), threading.Event()
    may = iter((first_may, second_may))

    def slowly(name):
        may_go_on = next(may)
        entered.release()
        assert may_go_on.wait(60)
        return import_module(name)

    monkeypatch.setattr(onnxruntime, "import_module", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(onnxruntime.runtime)
        assert entered.acquire(timeout=60)
        second = pool.submit(onnxruntime.runtime)
        entered.acquire(timeout=0.2)  # where the second one imports, too
        first_may.set()
        first.result()
        second_may.set()
        assert second.result() is first.result()
    assert onnxruntime.SILENCE not in os.environ
