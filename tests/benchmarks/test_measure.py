"""How timings are summed up."""

from __future__ import annotations

import pytest

from benchmarks.measure import summary


def test_summary_is_median_and_quartiles():
    timing = summary([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (timing.median_ms, timing.iqr_ms, timing.runs) == (3.0, 2.0, 5)


def test_a_single_run_has_no_range():
    assert summary([7.0]).iqr_ms == pytest.approx(0)
