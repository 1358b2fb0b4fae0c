"""One writer at a time: a lock that the end of a process gives back, however it ends."""

from __future__ import annotations

import time
from typing import IO

from sdk.errors import BadSetting

try:
    import fcntl
except ImportError:  # not on Windows, where whoever starts two writers has to see to it
    fcntl = None  # type: ignore[assignment]

PATIENCE_S = 10.0
"""How long one that is held is waited for: what a killed process started may live on for a moment, s."""
PAUSE_S = 0.05


def hold(file: IO[bytes], problem: str, *, remedy: str) -> None:
    """Lock ``file`` until it is closed.

    Raises:
        BadSetting: another holds it, of which ``problem`` tells.
    """
    end = time.monotonic() + PATIENCE_S
    while fcntl:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise BadSetting(problem, remedy=remedy) from error
            time.sleep(PAUSE_S)
        else:
            return
