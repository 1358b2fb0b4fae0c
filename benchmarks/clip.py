"""A clip of the bundled photographs, and what ``imdl stream`` makes of it from end to end."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.frames import SAMPLES
from benchmarks.memory import family, kib
from benchmarks.turn import ROOT, TurnFailed, reason

FPS = 25
SCENE = 50
"""Frames of each photograph."""
STEP = 3
"""Pixels by which the view moves from frame to frame."""
PERIOD_S = 0.05
"""Between two looks at the memory."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Playback:
    """What a stream took."""

    fps: float
    """Frames per second from the first result to the last."""
    ready_s: float
    """From the start of the process to the first result."""
    gaps_ms: list[float]
    """From result to result."""
    peak_rss_mib: float
    """Most that the process and its decoder held together."""
    quarters_mib: list[float]
    """Median of what they held in each quarter of the time: flat if the last are alike."""
    analysed: int


def synthesise(path: Path, *, height: int, width: int, frames: int) -> None:
    """Write ``frames`` frames of H.264: a view that moves over one photograph after the other."""
    import av

    files = sorted(SAMPLES.glob("*.jpg"))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range = 1, 1
        room = STEP * SCENE
        for index in range(frames):
            scene, step = divmod(index, SCENE)
            if step == 0:
                picture = cv2.imread(str(files[scene % len(files)]))
                view = cv2.resize(picture, (width + room, height + room), interpolation=cv2.INTER_AREA)[..., ::-1]
            away = STEP * step
            frame = np.ascontiguousarray(view[away : away + height, away : away + width])
            coded = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=1, dst_color_range=1
            )
            container.mux(stream.encode(coded))
        container.mux(stream.encode(None))


def play(clip: Path, options: list[str], *, limit_s: float) -> Playback:
    """Run ``imdl stream --json`` and note when each line comes; :class:`TurnFailed` if it breaks."""
    command = [sys.executable, "-m", "sdk", "stream", str(clip), "--json", *options]
    start = time.perf_counter()
    times: list[float] = []
    looks: list[float] = []
    lines = [""]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        stop = threading.Timer(limit_s, process.kill)
        stop.start()
        watch = threading.Thread(target=_watch, args=(process, looks))
        watch.start()
        assert process.stdout is not None
        for line in process.stdout:
            times.append(time.perf_counter())
            lines[:] = [line]
        words = process.stderr.read() if process.stderr else ""
        process.wait()
        stop.cancel()
        watch.join()
    if process.returncode not in (0, 1) or len(times) < 3:
        raise TurnFailed(reason(words) or f"ended with {process.returncode}")
    gaps = np.diff(times[:-1])  # the last line is the summary
    return Playback(
        fps=float(len(gaps) / gaps.sum()),
        ready_s=times[0] - start,
        gaps_ms=[1e3 * float(gap) for gap in gaps],
        peak_rss_mib=max(looks),
        quarters_mib=[float(np.median(part)) for part in np.array_split(looks, 4) if part.size],
        analysed=json.loads(lines[0])["summary"]["frames"],
    )


def _watch(process: subprocess.Popen[str], looks: list[float]) -> None:
    while process.poll() is None:
        looks.append(sum(kib(pid, "VmRSS") for pid in family(process.pid)) / 1024)
        time.sleep(PERIOD_S)
