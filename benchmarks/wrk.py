"""wrk, a load generator in C, as a client of the service: uploads for some seconds, all different."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("uploads.lua")
MISSING = "wrk, which sends the uploads, is not here\n  -> apt-get install wrk"
PATIENCE_SECONDS = 120
"""How long it waits for an answer."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of some seconds of uploads."""

    ms: list[float]
    """Of each answer, from its upload's first byte on; more than there were of slow ones: :func:`with_missed`."""
    calls: int
    """Answers that came in those seconds."""
    seconds: float


def program() -> str:
    """Where wrk is."""
    found = shutil.which("wrk")
    if found is None:
        raise ValueError(MISSING)
    return found


def with_missed(ms: list[float], *, seconds: float, connections: int) -> list[float]:
    """``ms`` as wrk counts: a call that took at least two usual ones kept others away, which would have waited, too."""
    each = len(ms) // connections
    if not each:
        return ms
    usual = 1e3 * seconds / each
    waited = (long - usual * missed for long in ms if long >= 2 * usual for missed in range(1, int(long / usual)))
    return ms + [wait for wait in waited if wait > usual]


def turn(port: int, photograph: Path, *, first: int, seconds: int, connections: int) -> Turn:
    """Upload a JPEG with the numbers from ``first`` on in its comment, over ``connections`` at once."""
    options = {"threads": 1, "connections": connections, "duration": f"{seconds}s", "timeout": f"{PATIENCE_SECONDS}s"}
    command = [program(), *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
    command += ["--script", str(SCRIPT), f"http://127.0.0.1:{port}/v1/analyze", "--", str(photograph), str(first)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode:
        raise ValueError(f"wrk ended with {ended.returncode}: {ended.stderr.strip()}\n  -> run {' '.join(command)}")
    said = json.loads(ended.stdout.splitlines()[-1])
    if said["refused"] or said["failed"]:
        counts = ", ".join(f"{said[name]} {name}" for name in ("calls", "refused", "failed"))
        raise ValueError(f"the service did not answer every upload: {counts}\n  -> look at its standard error")
    ms = [us / 1e3 for us, count in said["taken"] for _ in range(count)]
    return Turn(ms, said["calls"], said["us"] / 1e6)
