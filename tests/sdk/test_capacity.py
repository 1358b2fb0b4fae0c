"""Capacity: the simulation agrees with what queueing theory knows, and the answer is the smallest that does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sdk.capacity import capacity, percentile_99, wait
from sdk.errors import BadSetting

EXPONENTIAL = -100.0 * np.log1p(-(np.arange(4000) + 0.5) / 4000)
"""Times with the mean and the spread of an exponential distribution of 100 ms."""


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_the_simulation_agrees_with_the_closed_form_of_one_place(load):
    """M/M/1: line and service together are exponential with mean 1 / (mu - lambda)."""
    expected = 100.0 / (1 - load) * math.log(100)
    assert percentile_99(EXPONENTIAL, per_second=10 * load, workers=1) == pytest.approx(expected, rel=0.1)


def test_waiting_agrees_with_erlang_and_pollaczek_khinchine():
    """M/M/1, M/M/2 (a = 1: C = 1/3) and M/D/1, whose line is half as long as M/M/1's."""
    assert wait(EXPONENTIAL, per_second=5, workers=1) == pytest.approx(100.0, rel=0.01)
    assert wait(EXPONENTIAL, per_second=10, workers=2) == pytest.approx(100 / 3, rel=0.01)
    assert wait(np.full(50, 100.0), per_second=5, workers=1) == pytest.approx(50.0)
    assert wait(EXPONENTIAL, per_second=10.1, workers=1) == math.inf


def test_the_answer_is_the_smallest_that_keeps_the_promise():
    found = capacity(EXPONENTIAL.tolist(), per_second=40, p99_ms=700, workers=1)
    assert found.p99_ms <= 700 < percentile_99(EXPONENTIAL, per_second=40 / (found.machines - 1), workers=1)
    assert found.utilisation == pytest.approx(4 / found.machines, rel=0.01)
    assert found.arithmetic[1].endswith("4.00 places busy at any time")


def test_more_load_or_less_patience_never_needs_fewer_machines():
    times = [80.0, 120.0] * 10
    machines = [capacity(times, per_second=rate, p99_ms=p99).machines for rate, p99 in ((5, 400), (20, 400), (20, 200))]
    assert machines == sorted(machines)
    assert machines[0] < machines[-1]


@pytest.mark.parametrize(
    ("times", "options", "problem"),
    [([100.0] * 5, {}, "5 times were measured"), ([100.0] * 19 + [math.nan], {}, "20 times"),
     ([100.0] * 20, {"p99_ms": 90.0}, "takes 100.0 ms or more without any line"),
     ([100.0] * 20, {"per_second": 0.0}, "target is 0"), ([100.0] * 20, {"workers": 0}, "workers is 0")],
)  # fmt: skip
def test_what_cannot_be_answered_is_told(times, options, problem):
    with pytest.raises(BadSetting, match=problem):
        capacity(times, **{"per_second": 5.0, "p99_ms": 500.0} | options)
