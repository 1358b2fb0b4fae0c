"""One contender's turn in a process of its own, so that memory never holds two of them.

    python -m benchmarks.turn < JOB

The child reads a :class:`Job` as JSON, loads, warms up, times, and prints a :class:`Turn` as its last line.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import contenders
from benchmarks.frames import photograph
from benchmarks.memory import high_water_mib

ROOT = Path(__file__).parents[1]
LEAST = 3
"""Calls that count at least, however long they take."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a contender has to do."""

    load: str
    """Function of :mod:`benchmarks.contenders`."""
    options: Mapping[str, str | int | float]
    """Its arguments by name."""
    height: int
    width: int
    warmup: int
    """Calls that are thrown away; at least one, which plans for the size."""
    calls: int
    """Calls that count, at most."""
    seconds: float | None = None
    """What they may take together; then no further one is begun, once there are ``LEAST``."""
    answer: str | None = None
    """``.npz`` file for heatmap and score."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What it took."""

    wall_ms: float
    """Median over the calls of the turn."""
    cpu_ms: float
    """Likewise, time of all threads of the process."""
    ready_s: float
    """From loading to the end of the first call."""
    peak_rss_mib: float
    times_ms: Sequence[float]
    """Wall time of every call."""
    stages_ms: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    """Of every call by stage, where the contender tells them."""
    device_mib: float | None = None
    """Memory of the GPU that the process holds at the end."""


def times_of(turns: Iterable[Turn]) -> list[float]:
    """Wall times of every call of every turn."""
    return [ms for turn in turns for ms in turn.times_ms]


class TurnFailed(RuntimeError):
    """A contender that cannot run here; its text is the reason."""


def take(job: Job, *, limit_s: float) -> Turn:
    """Let a contender have its turn; :class:`TurnFailed` if it breaks, or is not done within ``limit_s`` seconds."""
    command = [sys.executable, "-m", "benchmarks.turn"]
    text = json.dumps(dataclasses.asdict(job))
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, cwd=ROOT, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        raise TurnFailed(f"not done within {limit_s:g} s") from None
    if done.returncode < 0:
        raise TurnFailed(f"ended by {signal.Signals(-done.returncode).name}, which for want of memory is SIGKILL")
    if done.returncode:
        raise TurnFailed(reason(done.stderr))
    return Turn(**json.loads(done.stdout.splitlines()[-1]))


def reason(stderr: str) -> str:
    """The exception that ended a process, in one line of at most 200 characters."""
    lines = stderr.strip().splitlines()
    start = max((i for i, line in enumerate(lines) if line and not line[0].isspace() and ":" in line), default=0)
    return " ".join(" ".join(lines[start:]).split())[:200]


class Call(NamedTuple):
    """One call."""

    wall_ms: float
    cpu_ms: float
    stages: Mapping[str, float]


def timed(
    call: contenders.Call,
    frame: contenders.Frame,
    calls: int,
    *,
    seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Call]:
    """What each of up to ``calls`` calls took."""
    times: list[Call] = []
    end = math.inf if seconds is None else clock() + seconds
    while len(times) < calls and (len(times) < LEAST or clock() < end):
        wall, cpu = clock(), time.process_time()
        answer = call(frame)
        wall, cpu = clock() - wall, time.process_time() - cpu
        times.append(Call(1e3 * wall, 1e3 * cpu, answer.stages or {}))
    return times


def device_mib() -> float | None:
    """Memory of the GPU that this process holds; None where none is used, or nobody can tell."""
    command = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    try:
        rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return None
    mine = [row.split(",")[1] for row in rows if row.split(",")[0].strip() == str(os.getpid())]
    return float(mine[0]) if mine else None


def run(job: Job) -> Turn:
    """The turn itself, in this process."""
    frame = photograph(job.height, job.width)
    start = time.perf_counter()
    call = getattr(contenders, job.load)(**job.options)
    answer = call(frame)
    ready_s = time.perf_counter() - start
    for _ in range(job.warmup - 1):
        call(frame)
    times = timed(call, frame, job.calls, seconds=job.seconds)
    if job.answer:
        heatmap = np.empty(0, np.float32) if answer.heatmap is None else answer.heatmap
        np.savez(job.answer, heatmap=heatmap, score=answer.score)
    return Turn(
        wall_ms=statistics.median(one.wall_ms for one in times),
        cpu_ms=statistics.median(one.cpu_ms for one in times),
        ready_s=ready_s,
        peak_rss_mib=high_water_mib(),
        times_ms=[one.wall_ms for one in times],
        stages_ms={stage: [one.stages[stage] for one in times] for stage in times[0].stages},
        device_mib=device_mib(),
    )


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(run(Job(**json.load(sys.stdin))))))
