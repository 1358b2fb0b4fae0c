"""A budget in minutes is kept, validation included, and people are told what a run does."""

from __future__ import annotations

import re

import pytest

from tests.training.test_fit import Made, loss, settings, small
from training import fit as fit_module
from training.fit import Fit


class Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def timed(tmp_path, monkeypatch):
    """Runs on a clock by which a step takes a second and a validation some; gives the run and when it validated."""
    clock = Clock()
    monkeypatch.setattr(fit_module, "time", clock)

    def run(*, validation: float, **changes):
        validated = []

        def slow_loss(*batch):
            clock.now += 1
            return loss(*batch)

        def slow_validation(_):
            clock.now += validation
            validated.append(clock.now)
            return {"pixel_auc": 0.5}

        fit = Fit("small", small(), tmp_path / "run", settings(**{"steps": 0, "minutes": 1.0} | changes))
        fit.run(Made(), slow_loss, batch=4, validate=slow_validation)
        return fit, validated

    return run


def test_validation_counts_and_a_budget_in_minutes_is_kept(timed):
    fit, validated = timed(validation=5, publish_minutes=0.3)
    assert validated == [23, 41, 59]  # begun every 18 s; what is left then is less than another takes
    assert fit.progress.seconds == 59
    assert fit.progress.step == 18 + 13 + 13


def test_only_a_first_validation_at_the_end_outlives_the_budget(timed):
    fit, validated = timed(validation=30, publish_minutes=8)
    assert validated == [90]
    assert fit.progress.seconds == 90


def test_a_budget_that_validation_has_used_up_is_not_validated_again(timed):
    fit, validated = timed(validation=58, publish_minutes=0.05)
    assert validated == [61]
    assert fit.progress.seconds == 61
    assert fit.progress.step == 3


def test_people_are_told_what_a_run_does_however_short_it_is(timed, capsys):
    timed(validation=2, minutes=0.05, report_steps=20)
    told = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"small trains in .*run until 100% of the budget; makes the first batch", told[0])
    assert told[1].startswith("small 100.0% step 3 ")
    assert told[2:] == ["small writes ema.pt and validates it", "small validated: pixel_auc 0.500"]
