"""The parent's side of the worker process that reads one video."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sdk.decoding_answer import VIDEO, taken
from sdk.decoding_process import WorkerProcess
from sdk.video.limits import VideoLimits


class VideoProcess(WorkerProcess):
    """One process that reads one video, always a frame ahead."""

    WORKER = "sdk.video.worker"

    def __init__(self, name: str, source: BinaryIO | str, *, matrix: str, limits: VideoLimits) -> None:
        """Start, and ask for the first frame of the file or the address ``source``.

        Only for an address does the worker keep the network.
        """
        is_address = isinstance(source, str)
        super().__init__(limits, file=None if isinstance(source, str) else source.fileno(), free=is_address)
        self._name = name
        self._ask({"name": name, "url": source if is_address else "", "matrix": matrix})

    def frame(self) -> tuple[NDArray[np.uint8], dict[str, Any]] | None:
        """Pixels [H, W, 3] of the next frame and what the worker says about it; None after the last.

        The worker goes on with the next one while this one is looked at.
        """
        with self._told_of(self._name):
            reply = self._reply()
            if reply.get("end"):
                return None
            pixels = self._pixels(int(reply["width"]), int(reply["height"]))
            said = taken(reply, VIDEO)
        self._ask({})
        return pixels, said

    def _ask(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # a worker that is gone is told of when its answer is waited for
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
