"""Timings: how several times of the same work are summed up."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """How long one call takes."""

    median_ms: float
    iqr_ms: float
    """Upper quartile less lower quartile."""
    runs: int


def summary(times_ms: list[float]) -> Timing:
    """Median and interquartile range; of a single time the range is zero."""
    if len(times_ms) == 1:
        return Timing(median_ms=times_ms[0], iqr_ms=0.0, runs=1)
    low, median, high = statistics.quantiles(times_ms, n=4, method="inclusive")
    return Timing(median_ms=median, iqr_ms=high - low, runs=len(times_ms))


def percentiles(times_ms: Iterable[float]) -> dict[str, float | int]:
    """Milliseconds that half, 95 % and 99 % of calls stay below, and of how many calls."""
    times = np.fromiter(times_ms, np.float64)
    p50, p95, p99 = (float(value) for value in np.percentile(times, [50, 95, 99]))
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "calls": int(times.size)}
