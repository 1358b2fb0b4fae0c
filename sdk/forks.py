"""What a forked child inherits of a runtime is never torn down there.

The threads of a runtime do not survive a fork. Destructors wait for them all the same, so that a child which ends in
the ordinary way would hang or crash, even one that never analysed anything. (Seen with ONNX Runtime 1.31, whose static
objects do it, and with sessions of OpenVINO 2026.4.) So in a child that inherits sessions these get a reference that is
never given back, and the process ends right after Python has finished, before the destructors of C++ libraries.
"""

from __future__ import annotations

import ctypes
import os
import weakref

_alive: weakref.WeakSet[object] = weakref.WeakSet()
"""The sessions of this process. No result depends on it."""


def outlive(session: object) -> None:
    """Keep ``session`` and all it holds from being torn down in any process that is forked from this one."""
    _alive.add(session)


def never_torn_down(value: object) -> None:
    """Give ``value`` a reference that is never given back."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _after_fork() -> None:
    inherited = list(_alive)
    for session in inherited:
        never_torn_down(session)
    library = ctypes.CDLL(None)
    if inherited and hasattr(library, "on_exit"):
        # The handler that is registered last runs first; glibc hands it the exit status, which is what _exit takes.
        library.on_exit(library._exit, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
