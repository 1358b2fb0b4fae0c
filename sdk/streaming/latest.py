"""The newest of what an iterator gives, in place of all of it: one slot and a thread that keeps it filled."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdk.source import Captured

PATIENCE_S = 2.0
"""How long closing waits for a source that is not giving; its thread then lets go of it whenever it gives again."""


class Latest:
    """Iterator over (how many were passed over, the newest frame); what ends the source ends it.

    Frames of a live source count when they come. Those of a file are taken to come at their times, so that the same
    frames are skipped as if it were live; frames without times count at once.
    """

    def __init__(self, captured: Generator[Captured]) -> None:
        self._captured = captured
        self._changed = threading.Condition()
        self._slot: Captured | None = None
        self._passed = 0
        self._stopped = self._ended = False
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="imdl-latest", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[int, Captured]]:
        return self

    def __next__(self) -> tuple[int, Captured]:
        with self._changed:
            self._changed.wait_for(lambda: self._slot is not None or self._ended)
            if self._slot is None:
                error, self._error = self._error, None
                raise error or StopIteration
            newest, passed = self._slot, self._passed
            self._slot, self._passed = None, 0
            return passed, newest

    def close(self) -> None:
        """Stop reading. Idempotent."""
        self._stop.set()
        self._thread.join(PATIENCE_S)

    def _fill(self) -> None:
        zero = time.monotonic()
        try:
            for captured in self._captured:
                if captured.time_s is not None and not captured.live:
                    self._stop.wait(max(0.0, zero + captured.time_s - time.monotonic()))
                if self._stop.is_set():
                    return
                with self._changed:
                    self._passed += self._slot is not None
                    self._slot = captured
                    self._changed.notify()
        except BaseException as error:  # whoever asks for the next frame gets it, as without this thread
            self._error = error
        finally:
            self._captured.close()
            with self._changed:
                self._ended = True
                self._changed.notify()
