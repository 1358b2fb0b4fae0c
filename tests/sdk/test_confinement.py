"""What code that has taken over the decoding process can still reach."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import pytest

from sdk import confinement, decoding_process, doctor
from sdk.decoding import Decoder
from sdk.decoding_process import WorkerProcess
from sdk.limits import Limits
from tests.sdk.files import saved

# In place of a codec: Python that the file holds. What it found it can do is the name of an unknown error.
TAKEN_OVER = """
from sdk import pillow
from sdk.errors import DecodeFailed
import ctypes, os, socket, subprocess

def run(file, *, name, **_):
    try:
        exec(file.read())
    except BaseException as error:
        said = type(error).__name__
    else:
        said = "done"
    raise DecodeFailed(f"{name} {said}", remedy="none")

pillow.read = run
serve(start)"""
EACH = {
    "read a file": "open({there!r}).read()",
    "write a file": "open({there!r}, 'w')",
    "make a file": "open({there!r} + '2', 'w')",
    "list a folder": "os.listdir('/')",
    "speak TCP": "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "speak UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "speak to a neighbour": "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
    "start a program": "subprocess.run(['/bin/true'])",
    "raise the limit": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))",
    "import a module": "import sqlite3",
}
BY_LANDLOCK = {
    "delete a file": "os.unlink({there!r})",
    "rename a file": "os.rename({there!r}, {there!r} + '3')",
    "make a folder": "os.mkdir({there!r} + '4')",
    "become a program": "os.execv('/bin/true', ['true'])",
    "look into its parent": "assert ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0",  # PTRACE_ATTACH
}
landlocked = pytest.mark.skipif(
    decoding_process.within_reach() == confinement.NO_LANDLOCK, reason="this kernel has no Landlock"
)


@pytest.fixture(scope="module")
def taken_over():
    """Runs the Python that it is given in a decoding process; what came of it."""
    bootstrap = decoding_process.BOOTSTRAP.replace("serve(start)", TAKEN_OVER)
    with Decoder(workers=1) as decoder:
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(decoding_process, "BOOTSTRAP", bootstrap)
            monkeypatch.setenv("PGPASSWORD", "hunter2")
            with pytest.raises(decoding_process.DecodeFailed, match="done"):
                decoder.decode(b"pass")

        def run(code: str) -> str:
            with pytest.raises(decoding_process.DecodeFailed, match="the file given as") as caught:
                decoder.decode(code.encode())
            return caught.value.problem.rpartition(" ")[2]

        yield run


def test_code_that_harms_nobody_is_run(taken_over):
    assert taken_over("sum(range(9))") == "done"
    assert taken_over("1 / 0") == "ZeroDivisionError"


@pytest.mark.parametrize("what", EACH)
def test_nothing_can_be_opened(taken_over, tmp_path, what):
    there = tmp_path / "there"
    there.write_text("secret")
    said = taken_over(EACH[what].format(there=str(there)))
    assert said in {"OSError", "PermissionError", "ValueError", "ModuleNotFoundError", "BlockingIOError"}, said
    assert there.read_text() == "secret"
    assert list(tmp_path.iterdir()) == [there]


@landlocked
@pytest.mark.parametrize("what", BY_LANDLOCK)
def test_other_files_and_processes_are_out_of_reach(taken_over, tmp_path, what):
    there = tmp_path / "there"
    there.write_text("secret")
    said = taken_over(BY_LANDLOCK[what].format(there=str(there)))
    assert said in {"OSError", "PermissionError", "AssertionError"}, said
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_no_program_gives_back_what_was_given_up(taken_over):
    get_no_new_privileges = 39
    assert taken_over(f"assert ctypes.CDLL(None).prctl({get_no_new_privileges}, 0, 0, 0, 0) == 1") == "done"


@pytest.mark.parametrize(("mode", "said"), [("worker", "AssertionError"), ("fresh", "done")])
def test_only_a_fresh_process_knows_nothing_of_the_file_before(monkeypatch, mode, said):
    bootstrap = decoding_process.BOOTSTRAP.replace("serve(start)", TAKEN_OVER)
    monkeypatch.setattr(decoding_process, "BOOTSTRAP", bootstrap)
    with Decoder(mode=mode, workers=1) as decoder:
        with pytest.raises(decoding_process.DecodeFailed, match="done"):
            decoder.decode(b"pillow.kept = 'pixels'")
        with pytest.raises(decoding_process.DecodeFailed, match=said):
            decoder.decode(b"assert not hasattr(pillow, 'kept')")


def test_passwords_of_the_service_are_not_handed_on(taken_over):
    assert taken_over("assert 'PGPASSWORD' not in os.environ") == "done"


def test_what_holds_is_said(monkeypatch, picture):
    process = WorkerProcess(Limits())
    process.close()
    assert process.within_reach in ("", confinement.NO_SCOPES, confinement.NO_LANDLOCK)
    assert doctor.decoding().startswith(f"decoding: {process.within_reach or 'in a process that can open no file'}")
    lacking = decoding_process.BOOTSTRAP.replace(
        "serve(start)", "from sdk import confinement\nconfinement.CREATE_RULESET = 10**6\nserve(start)"
    )
    monkeypatch.setattr(decoding_process, "BOOTSTRAP", lacking)
    assert decoding_process.within_reach() == confinement.NO_LANDLOCK
    assert doctor.decoding() == f"decoding: {confinement.NO_LANDLOCK}"
    with Decoder(workers=1) as decoder:
        np.testing.assert_array_equal(decoder.decode(saved(picture, "PNG")).frame, picture)
    monkeypatch.setattr(decoding_process, "BOOTSTRAP", "raise SystemExit('no such thing')")
    assert "did not start: no such thing" in doctor.decoding()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere rights are those of the whole process")
def test_a_thread_that_keeps_its_rights_is_said(monkeypatch):
    threaded = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
serve(start)"""
    monkeypatch.setattr(decoding_process, "BOOTSTRAP", decoding_process.BOOTSTRAP.replace("serve(start)", threaded))
    assert decoding_process.within_reach() == confinement.NOT_ALONE


def test_a_worker_for_an_address_keeps_the_network():
    process = WorkerProcess(Limits(), free=True)
    process.close()
    assert process.within_reach == confinement.NOTHING


@landlocked
def test_its_parent_is_not_signalled_where_landlock_knows_of_signals(taken_over):
    version = ctypes.CDLL(None).syscall(confinement.CREATE_RULESET, None, ctypes.c_size_t(0), confinement.VERSION_FLAG)
    assert taken_over("os.kill(os.getppid(), 0)") == ("PermissionError" if version >= 6 else "done")
