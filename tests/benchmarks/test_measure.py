"""Timing: what is counted, in which order, and how it is summed up."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from benchmarks.measure import interleaved, measure, summary


def test_every_call_is_made_once_per_round_after_its_warmup():
    made = Counter()
    timings = interleaved({name: lambda name=name: made.update(name) for name in "abc"}, warmup=2, rounds=5)
    assert made == {"a": 7, "b": 7, "c": 7}
    assert {timing.runs for timing in timings.values()} == {5}


def test_first_place_goes_round():
    order = []
    interleaved({name: lambda name=name: order.append(name) for name in "abc"}, warmup=0, rounds=3)
    assert "".join(order) == "abcbcacab"


def test_sync_is_inside_the_timed_run():
    timing = measure(lambda: None, sync=lambda: time.sleep(0.002), warmup=0, runs=3)
    assert timing.median_ms >= 2


def test_summary_is_median_and_quartiles():
    timing = summary([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (timing.median_ms, timing.iqr_ms, timing.runs) == (3.0, 2.0, 5)


def test_a_single_run_has_no_range():
    assert summary([7.0]).iqr_ms == pytest.approx(0)
