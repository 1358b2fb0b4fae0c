"""The parent's side of the worker process: start it, ask it, stop it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL
from numpy.typing import NDArray

from sdk.decoding_answer import IMAGE, NONSENSE, taken
from sdk.errors import DecodeFailed, LargePicture, LimitExceeded, MissingExtra, RunFailed, SdkError, UnsupportedImage
from sdk.limits import Limits, check_bytes, parameter, raising
from sdk.pillow import readable

START_SECONDS = 30.0
"""Time for the worker to start; its own allowance, so that a loaded machine does not make files look guilty."""
REPLY_BYTES = 65536
REFUSAL = 2000
"""Characters of what a worker says of a file that it refuses; one that was taken over may say anything."""
KEPT_BYTES = 32 * 2**20
REFUSALS: dict[str, type[SdkError]] = {
    kind.__name__: kind for kind in (DecodeFailed, LargePicture, LimitExceeded, MissingExtra, UnsupportedImage)
}
"""Errors that a worker may name; it is not trusted to send objects."""
ENVIRONMENT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH")
"""Variables that a worker is given: among those of a service may be passwords."""
COPIED_BYTES = 2**20
# The worker imports sdk's modules without running sdk/__init__, and finds the standard library before anything that
# lies beside the user's script.
BOOTSTRAP = """
import importlib, json, sys, types
start = json.loads(sys.argv[1])
sys.path += start["path"]
package = sys.modules["sdk"] = types.ModuleType("sdk")
package.__path__ = [start["package"]]
serve = importlib.import_module(start["worker"]).serve
serve(start)
"""


def within_reach(limits: Limits | None = None) -> str:
    """What a worker of this machine could not give up of network and files, in words; empty if nothing. Starts one."""
    process = WorkerProcess(limits or Limits())
    process.close()
    return process.within_reach


class WorkerProcess:
    """One process that decodes one file at a time."""

    WORKER = "sdk.decoding_worker"
    """Module whose ``serve`` it runs."""

    def __init__(self, limits: Limits, *, file: int | None = None, free: bool = False, waits: bool = True) -> None:
        """Start it with the descriptor ``file``, if given; it keeps network and files only if it is ``free``.

        With ``waits=False`` it goes on starting by itself, until :meth:`ready`.
        """
        self._limits = limits
        self._parent = os.getpid()
        self.within_reach = ""
        """What it could not give up of network and files, in words; empty if nothing."""
        self._shared = self._noise = -1
        self._is_ready = False
        path = [str(Path(PIL.__file__).parent.parent), *(str(Path(entry).absolute()) for entry in sys.path)]
        start: dict[str, Any] = {"path": path, "package": str(Path(__file__).parent), "worker": self.WORKER}
        start |= {"file": file, "free": free, "limits": asdict(limits)}
        with self._starting():
            self._shared = anonymous_file("imdl-frame")
            self._noise = anonymous_file("imdl-noise")
            command = [sys.executable, "-I", "-S", "-c", BOOTSTRAP, json.dumps(start | {"shared": self._shared})]
            # A session of its own: Ctrl-C at the terminal is for the user's program to handle, and what a codec that
            # was taken over starts can be stopped with it.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._noise,
                pass_fds=[self._shared, *([] if file is None else [file])],
                env=None if free else {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
                start_new_session=True,
                bufsize=0,
            )
        if waits:
            self.ready()

    def ready(self) -> None:
        """Wait until it has started and given up what it can. Idempotent."""
        if self._is_ready:
            return
        with self._starting():
            self.within_reach = readable(json.loads(self._receive(START_SECONDS))["within_reach"])
        self._is_ready = True

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        """What goes wrong inside is the machine's fault: no file may be judged for it."""
        try:
            yield
        except (LimitExceeded, _WorkerDied, *NONSENSE) as error:
            said = self._said()
            self.close()
            raise RunFailed(
                f"the decoding process did not start: {said or error}",
                remedy=f'raise {parameter(self._limits, memory="...")}, or for trusted files use decode="inline"',
            ) from error

    def decode(
        self, name: str, source: BinaryIO | memoryview, *, most_pixels: int = sys.maxsize
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Pixels [H, W, 3] of ``source``, ``most_pixels`` at most, and what the worker says about it.

        A refusal is raised as the error that the worker named and leaves it usable. A crash or a missed deadline
        stops it: :attr:`alive` is then false.
        """
        with self._told_of(name):
            self._send(name, source, most_pixels=most_pixels)
            reply = self._reply()
            frame = self._pixels(int(reply["width"]), int(reply["height"]))
            return frame, self._with_noise(taken(reply, IMAGE))

    @contextlib.contextmanager
    def _told_of(self, name: str) -> Iterator[None]:
        """Errors inside are about the file ``name``; what leaves the worker in an unknown state stops it."""
        try:
            yield
        except SdkError as error:
            if isinstance(error, LimitExceeded) and not self.alive:
                raise LimitExceeded(f"{name} {error.problem}", remedy=error.remedy) from None
            raise
        except (_WorkerDied, *NONSENSE) as error:
            said = f" and printed: {self._said()}" if self._said() else ""
            self.close()
            raise DecodeFailed(
                f"{name} cannot be decoded: the decoding process {error}{said}",
                remedy="the file is damaged or hostile; a new process takes the next one",
            ) from error
        except BaseException:  # an interrupt leaves an answer under way that nobody reads
            self.close()
            raise
        finally:
            self._tidy()

    @property
    def alive(self) -> bool:
        """Whether it can take another file."""
        return self._shared >= 0 and not _has_ended(self._process)

    def close(self) -> None:
        """Stop the process, with all that it started and that stayed in its group, and release what it shares.

        Idempotent. In a fork it only lets go.
        """
        if getattr(self, "_process", None) is not None:
            self._stop()
        self.forget()

    def _stop(self) -> int:
        """End the process and its group, unless they are another process's; the code it ended with."""
        if os.getpid() != self._parent:
            return 0
        if self._process.returncode is None:  # not yet reaped: until then its number is no other group's
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def forget(self) -> None:
        """Release this process's ends and leave the worker alone: it belongs to the parent of a fork."""
        process = getattr(self, "_process", None)
        if process is not None:
            process.returncode = process.returncode or 0
            process.stdin.close()
            process.stdout.close()
        for descriptor in {self._shared, self._noise} - {-1}:
            os.close(descriptor)
        self._shared = self._noise = -1

    def _send(self, name: str, source: BinaryIO | memoryview, **asked: int) -> None:
        size = _write(self._shared, source, self._limits.bytes + 1)
        if not isinstance(source, memoryview):  # a file may have grown since it was looked at
            check_bytes(name, size, self._limits)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"name": name, **asked}).encode() + b"\n")

    def _reply(self) -> dict[str, Any]:
        """What the worker says, in time; a refusal is raised."""
        reply = json.loads(self._receive(self._limits.seconds))
        if not isinstance(reply, dict):
            raise _WorkerDied("answered with no object")
        if "error" in reply:
            raise _refusal(reply)
        return reply

    def _receive(self, seconds: float) -> bytes:
        """One line of the worker, within ``seconds``."""
        assert self._process.stdout is not None
        descriptor, deadline, line = self._process.stdout.fileno(), time.monotonic() + seconds, b""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(1e3 * left):
                self.close()
                raise LimitExceeded(
                    f"took longer than the limit seconds={seconds:g}",
                    remedy=raising(self._limits, seconds="..."),
                )
            piece = os.read(descriptor, REPLY_BYTES)
            line += piece
            if not piece or len(line) > REPLY_BYTES:
                raise _WorkerDied(self._fate())
        return line

    def _fate(self) -> str:
        code = self._stop()
        return f"was stopped by signal {-code}" if code < 0 else f"ended with status {code}"

    def _pixels(self, width: int, height: int) -> NDArray[np.uint8]:
        """The frame, copied out: nothing that the worker still holds can change it afterwards."""
        if width <= 0 or height <= 0 or width * height > self._limits.pixels:
            raise _WorkerDied(f"answered with a frame of {width} x {height}")
        frame = np.empty((height, width, 3), np.uint8)
        rest, offset = frame.data.cast("B"), 0
        while rest:
            count = os.preadv(self._shared, [rest], offset)
            if count == 0:
                raise _WorkerDied("answered with too few pixels")
            rest, offset = rest[count:], offset + count
        return frame

    def _said(self) -> str:
        """The last line that a codec printed."""
        if self._noise < 0:
            return ""
        size = os.fstat(self._noise).st_size
        text = os.pread(self._noise, 400, max(0, size - 400)).decode(errors="replace")
        return readable(text.strip().rpartition("\n")[2])

    def _with_noise(self, reply: dict[str, Any]) -> dict[str, Any]:
        said = self._said()
        return {**reply, "notes": (*reply["notes"], f"the decoder printed: {said}")} if said else reply

    def _tidy(self) -> None:
        """Forget what was printed, and give back memory; a little is kept because fresh pages cost time."""
        if self._shared < 0:
            return
        os.ftruncate(self._noise, 0)
        os.lseek(self._noise, 0, os.SEEK_SET)
        if os.fstat(self._shared).st_size > KEPT_BYTES:
            os.ftruncate(self._shared, KEPT_BYTES)


class _WorkerDied(Exception):
    """The worker is gone or talks nonsense."""


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether ``process`` runs no more; it is not reaped, so that its group can still be named."""
    if process.returncode is not None or not hasattr(os, "waitid"):  # macOS has none before Python 3.13
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # someone else has reaped it
        return True


def _refusal(reply: dict[str, Any]) -> SdkError:
    kind = REFUSALS.get(reply["error"], DecodeFailed)
    error = kind.__new__(kind)
    SdkError.__init__(error, readable(reply["problem"], most=REFUSAL), remedy=readable(reply["remedy"], most=REFUSAL))
    return error


def anonymous_file(name: str) -> int:
    """Descriptor of a file without a path, in memory where the system has that; none of the three standard ones.

    Where a service has closed those, the next file would get their numbers, and in the worker they are its streams.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create(name)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    if descriptor > 2:
        return descriptor
    import fcntl  # which only a Unix has

    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def _write(descriptor: int, source: BinaryIO | memoryview, most: int) -> int:
    """Let the file of ``descriptor`` hold what ``source`` holds, of a file ``most`` bytes; how many it holds."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "wb", closefd=False) as file:
        if isinstance(source, memoryview):
            file.write(source)
        else:
            while piece := source.read(min(COPIED_BYTES, most - file.tell())):
                file.write(piece)
        file.truncate()
        return file.tell()
