"""Timings: how several times of the same work are summed up."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


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
