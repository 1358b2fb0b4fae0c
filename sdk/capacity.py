"""How many machines a load needs: utilisation and the formula of queues for a first guess, a simulation to check it.

Uploads arrive at random and independently (Poisson), are spread evenly over the machines, and wait there in one line
for one of ``workers`` places. What an examination takes is drawn from times that were measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sdk.errors import BadSetting

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARRIVALS = 60_000
"""Uploads that are simulated: about 600 lie beyond the 99th percentile, which is then known to several percent."""
LEAST_TIMES = 20
"""Measured times that say something about their spread."""
MOST = 100_000
"""Machines beyond which the load is not one for this arithmetic."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Machines for a load, and why."""

    machines: int
    utilisation: float
    """Share of the time for which a place is busy, in [0, 1)."""
    wait_ms: float
    """Mean time in line by the formula of Allen and Cunneen, ms."""
    p99_ms: float
    """99th percentile of line and examination together, simulated, ms."""
    arithmetic: tuple[str, ...]
    """The steps in words."""


def capacity(times_ms: Sequence[float], *, per_second: float, p99_ms: float, workers: int = 1) -> Capacity:
    """The fewest machines with ``workers`` places each that keep the 99th percentile within ``p99_ms``.

    ``times_ms`` are measured times of single examinations on one place, with all places of the machine busy.
    """
    times = _checked(times_ms, per_second=per_second, p99_ms=p99_ms, workers=workers)
    mean, alone = float(times.mean()), float(np.percentile(times, 99))
    busy = per_second * mean / 1e3
    if alone > p99_ms:
        raise BadSetting(
            f"one of 100 examinations takes {alone:.1f} ms or more without any line",
            remedy="allow more than that, or make it faster: a smaller working_size, another device",
        )
    machines = max(1, math.floor(busy / workers) + 1)  # below it lines grow without end
    lines = [
        f"an examination takes {mean:.1f} ms on average, {alone:.1f} ms at the 99th percentile ({len(times)} measured)",
        f"{per_second:g} a second x {mean:.1f} ms = {busy:.2f} places busy at any time",
        f"{busy:.2f} places / {workers} on a machine: {machines} machines at least, or lines grow without end",
    ]
    while machines <= MOST:
        rate = per_second / machines
        found = percentile_99(times, per_second=rate, workers=workers)
        used = rate * mean / 1e3 / workers
        lines.append(f"{machines} machines: {used:.0%} busy, 99th percentile {found:.1f} ms by simulation")
        if found <= p99_ms:
            return Capacity(machines, used, wait(times, per_second=rate, workers=workers), found, tuple(lines))
        machines += max(1, machines // 50)
    raise BadSetting(f"{per_second:g} a second needs more than {MOST} machines", remedy="ask for less")


def wait(times: NDArray[np.float64], *, per_second: float, workers: int) -> float:
    """Mean time in line, ms: Erlang C for exponential times, corrected for their spread (Allen and Cunneen).

    W = C(c, a) / (c - a) * E[S] * (1 + v) / 2,    a = rate * E[S],    v = Var[S] / E[S]^2
    """
    mean = float(times.mean())
    load = per_second * mean / 1e3
    if load >= workers:
        return math.inf
    blocked = 1.0
    for places in range(1, workers + 1):  # Erlang B, place by place
        blocked = load * blocked / (places + load * blocked)
    waiting = blocked / (1 - load / workers * (1 - blocked))
    return waiting / (workers - load) * mean * (1 + float(times.var()) / mean**2) / 2


def percentile_99(times: NDArray[np.float64], *, per_second: float, workers: int, arrivals: int = ARRIVALS) -> float:
    """99th percentile of line and examination of one machine's uploads, ms: simulated, the same each time."""
    rng = np.random.default_rng(0)
    arrived = np.cumsum(rng.exponential(1e3 / per_second, arrivals))
    taken = rng.choice(times, arrivals)
    free = [0.0] * workers
    spent = np.empty(arrivals)
    for number, (moment, needed) in enumerate(zip(arrived.tolist(), taken.tolist(), strict=True)):
        place = free.index(min(free))
        free[place] = max(moment, free[place]) + needed
        spent[number] = free[place] - moment
    return float(np.percentile(spent[arrivals // 20 :], 99))  # the first ones find an empty machine


def _checked(times_ms: Sequence[float], *, per_second: float, p99_ms: float, workers: int) -> NDArray[np.float64]:
    times = np.asarray(times_ms, np.float64)
    if len(times) < LEAST_TIMES or not np.isfinite(times).all() or (times <= 0).any():
        raise BadSetting(
            f"{len(times)} times were measured", remedy=f"give {LEAST_TIMES} or more, each above 0: imdl record"
        )
    for name, value in (("target", per_second), ("p99", p99_ms), ("workers", workers)):
        if not 0 < value < math.inf:
            raise BadSetting(f"{name} is {value}", remedy="give a number above 0")
    return times
