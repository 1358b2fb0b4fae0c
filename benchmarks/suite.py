"""Commands one after the other within a time for all of them, and what came of each.

A step that fails does not stop the others; one that takes too long is ended with all that it started. What is left out
is named with its reason.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence

from benchmarks.turn import ROOT

TOLD = 12
"""Last lines of a step's output that are kept."""
LEFT = "{seconds left}"
"""In a command: stands for the seconds that it may take, less what ending takes it."""
ENDING_S = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One command of the suite."""

    name: str
    command: tuple[str, ...]
    lacking: tuple[str, ...] = ()
    """Why it is left out, one sentence each; none if it is run."""
    limit_s: float
    reserved_s: float = 0.0
    """What steps before it leave it of the time for all."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Came:
    """What came of a step."""

    name: str
    seconds: float
    outcome: str
    """"done", "failed", "not in time", or why it was left out."""
    told: tuple[str, ...]


def carried_out(planned: Sequence[Step], *, budget_s: float) -> list[Came]:
    """Run every step that nothing is lacking for, one after the other, while there is time."""
    start, came = time.monotonic(), []
    for place, step in enumerate(planned):
        reserved = sum(later.reserved_s for later in planned[place + 1 :] if not later.lacking)
        left = budget_s - reserved - (time.monotonic() - start)
        if step.lacking or left <= 0:
            reason = "; ".join(step.lacking) or "no time was left"
            came.append(Came(name=step.name, seconds=0.0, outcome=f"left out: {reason}", told=()))
        else:
            came.append(_run(step, limit_s=min(left, step.limit_s)))
        print(f"{came[-1].name}: {came[-1].outcome} ({came[-1].seconds:.0f} s)", file=sys.stderr, flush=True)
    return came


def _run(step: Step, *, limit_s: float) -> Came:
    """The step in a session of its own: what it starts would otherwise outlive it, and hold the GPU."""
    start = time.monotonic()
    command = [part.replace(LEFT, f"{max(limit_s - ENDING_S, 0):.0f}") for part in step.command]
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
        try:
            outcome = "failed" if process.wait(limit_s) else "done"
        except subprocess.TimeoutExpired:
            outcome = "not in time"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        lines = [line.rstrip()[:300] for line in said if line.strip()]
    return Came(name=step.name, seconds=time.monotonic() - start, outcome=outcome, told=tuple(lines[-TOLD:]))


def as_json(came: Iterable[Came]) -> list[dict[str, object]]:
    """For a result's file."""
    return [dataclasses.asdict(one) | {"told": list(one.told)} for one in came]


def failed(came: Iterable[Came]) -> bool:
    """Whether a step that could be run did not come to its end, or not to a good one."""
    return any(one.outcome in {"failed", "not in time"} for one in came)
