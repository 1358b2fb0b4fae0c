"""The parent's side of the worker process that reads one video."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdk.decoding_process import WorkerProcess
from sdk.pillow import readable
from sdk.video.limits import VideoLimits

SAID: Mapping[str, Callable[[Any], Any]] = {
    "time_s": float,
    "decode_ms": float,
    "orientation": int,
    "decoder": readable,
    "damage": readable,
    "notes": lambda notes: [readable(note) for note in notes],
}
"""What is taken of an answer; the worker is not trusted to send what it should."""


class VideoProcess(WorkerProcess):
    """One process that reads one video, always a frame ahead."""

    WORKER = "sdk.video.worker"

    def __init__(self, name: str, opening: Mapping[str, Any], limits: VideoLimits) -> None:
        """Start, and ask for the first frame of what ``opening`` names (``path`` in hexadecimal, or ``url``)."""
        super().__init__(limits)
        self._name = name
        self._ask({"name": name, **opening})

    def frame(self) -> tuple[NDArray[np.uint8], dict[str, Any]] | None:
        """Pixels [H, W, 3] of the next frame and what the worker says about it; None after the last.

        The worker goes on with the next one while this one is looked at.
        """
        with self._told_of(self._name):
            reply = self._reply()
            if reply.get("end"):
                return None
            pixels = self._pixels(int(reply["width"]), int(reply["height"]))
            said = {name: kind(reply[name]) for name, kind in SAID.items()}
        self._ask({})
        return pixels, said

    def _ask(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # a worker that is gone is told of when its answer is waited for
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
