"""What the worker process gives up for good before it meets a hostile file, without privileges and by the kernel alone.

A codec that is taken over by its file runs an attacker's code in that process. There it finds

* no way to open anything: no descriptor beyond those it has (``RLIMIT_NOFILE``), so no file, no socket, no program's
  libraries; and no capability by which root could raise that limit again, nor a program to get one from;
* where Linux has Landlock (5.13 or newer): no file to delete, rename or run, no process to trace and, from 6.12 on,
  none to signal. That holds even where the first does not.

The frame, the answer and the file came with descriptors that are open already.

What it keeps: it can answer what it likes about the file it was given. It can start copies of itself, confined as it is
(``RLIMIT_NPROC`` does not bind root, and codecs of HEIC need threads); they are ended with it unless they leave its
process group. And as long as it lives, it is given the next files: it can read them, answer falsely about them, and
put their pixels into the answer for a later one. Only where each file gets a process of its own
(``decode="fresh"``, :mod:`sdk.decoding`) does it end with its file.
"""

from __future__ import annotations

import ctypes
import os
import sys

try:
    import resource
except ImportError:  # not a Unix
    resource = None  # type: ignore[assignment]

CREATE_RULESET, RESTRICT_SELF = 444, 446
"""System calls, by the same number on every architecture."""
VERSION_FLAG = 1
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Rights to files that a version of Landlock knows, counted from the lowest bit; later ones know those of 5."""
BIND_OR_CONNECT = 0b11
"""Rights to TCP, from version 4 on."""
SOCKETS_AND_SIGNALS = 0b11
"""What reaches other processes, from version 6 on."""
NO_NEW_PRIVILEGES = 38
CAPABILITIES_VERSION = 0x20080522
SCOPED = 6
"""The version from which on processes cannot be signalled."""
NO_LANDLOCK = (
    "nothing can be opened, but this kernel has no Landlock, so that files can be deleted, renamed and run, and other "
    "processes of its user traced and ended"
)
NO_SCOPES = "nothing can be opened, but before Linux 6.12 other processes of its user can be ended"
NOT_ALONE = "threads that ran before it was confined keep what it gave up: Linux takes rights from one thread alone"
NOTHING = "the system takes nothing from it: network and files stay within its reach"


class _Ruleset(ctypes.Structure):
    """All that is denied, since no rule allows any of it; members that an older kernel does not know are zero."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scope", ctypes.c_uint64))


def enter() -> str:
    """Give it all up; what could not be given up, in words, or nothing. Whatever is imported later is not found."""
    alone = _is_alone()
    _drop_privileges()
    walled = _landlock()
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    if _opens():  # tried, not believed
        return NOTHING
    if not alone:
        return NOT_ALONE
    if not walled:
        return NO_LANDLOCK
    return "" if walled >= SCOPED else NO_SCOPES


def _is_alone() -> bool:
    """Whether the calling thread is known to be the only one: Linux takes rights from that one alone."""
    if sys.platform != "linux":
        return True
    try:
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208 (pathlib is not imported here)
    except OSError:
        return False


def _landlock() -> int:
    """The version of Landlock that keeps this process and all it starts from files and processes; 0 if none does."""
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None)
    version = int(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION_FLAG))
    if version < 1:
        return 0
    denied = _Ruleset(
        files=(1 << FILE_RIGHTS[min(version, max(FILE_RIGHTS))]) - 1,
        network=BIND_OR_CONNECT if version >= 4 else 0,
        scope=SOCKETS_AND_SIGNALS if version >= SCOPED else 0,
    )
    ruleset = libc.syscall(CREATE_RULESET, ctypes.byref(denied), ctypes.c_size_t(ctypes.sizeof(denied)), 0)
    if ruleset < 0:
        return 0
    try:
        return version if libc.syscall(RESTRICT_SELF, ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)


def _drop_privileges() -> None:
    """Be nobody special, though root started this: only then is a limit that was lowered lowered for good.

    Without the first, root would have all capabilities again in any program that it becomes.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        header = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
        libc.capset(header, (ctypes.c_uint32 * 6)())


def _opens() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True
