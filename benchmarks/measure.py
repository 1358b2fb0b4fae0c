"""Timing: medians and interquartile ranges, of one call or of several that take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Call = Callable[[], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """How long one call takes."""

    median_ms: float
    iqr_ms: float
    """Upper quartile less lower quartile."""
    runs: int


def nothing() -> None:
    """What a synchronous device needs to be drained."""


def measure(call: Call, *, sync: Call = nothing, warmup: int = 10, runs: int = 100) -> Timing:
    """Median and interquartile range of ``call``, ms, with the device drained inside every timed run."""
    return interleaved({"": call}, sync=sync, warmup=warmup, rounds=runs)[""]


def interleaved(calls: Mapping[str, Call], *, sync: Call = nothing, warmup: int, rounds: int) -> dict[str, Timing]:
    """Timings of several calls that take turns, so that a slow minute of the machine falls on all of them.

    Each round runs every call once, in an order turned by one place from round to round: none always follows the
    same neighbour's caches and clock.
    """
    for call in calls.values():
        for _ in range(warmup):
            call()
    sync()
    names = list(calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(_once(calls[name], sync))
    return {name: summary(values) for name, values in times.items()}


def _once(call: Call, sync: Call) -> float:
    start = time.perf_counter()
    call()
    sync()
    return 1e3 * (time.perf_counter() - start)


def summary(times_ms: list[float]) -> Timing:
    """Median and interquartile range; of a single time the range is zero."""
    if len(times_ms) == 1:
        return Timing(median_ms=times_ms[0], iqr_ms=0.0, runs=1)
    low, median, high = statistics.quantiles(times_ms, n=4, method="inclusive")
    return Timing(median_ms=median, iqr_ms=high - low, runs=len(times_ms))
