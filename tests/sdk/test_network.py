"""The kernel is the witness: an analysis makes no socket of the internet, in Python or in a runtime's own code."""

from __future__ import annotations

import platform
import signal
import subprocess
import sys

import pytest
from PIL import Image

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
import sdk
for backend in ("onnxruntime", "openvino"):
    with sdk.load(sys.argv[2], backend=backend, threads=1) as analyzer:
        print(analyzer.analyze(sys.argv[3]).verdict)
"""
)


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, platform.machine(), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="system calls have other numbers here")
def test_no_socket_of_the_internet_is_made(toy_path, frame, tmp_path, repository, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(repository))
    assert run(NATIVE).returncode == -signal.SIGSYS, "the witness is blind"
    Image.fromarray(frame).save(tmp_path / "frame.png")
    done = run(ANALYSIS, toy_path, tmp_path / "frame.png")
    assert (done.returncode, done.stdout.split()) == (0, ["no_evidence"] * 2), done.stderr
