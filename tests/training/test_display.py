"""A bar where somebody watches, lines where nobody does."""

from __future__ import annotations

import io
import re

import pytest

from training import display
from training.display import Pace, clock, sentence
from training.fit import Progress, Report

FIGURES = {"step": 40, "images_per_second": 17.96, "localisation": 0.5124, "detection": 0.25, "waiting": 0.034}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")


def test_a_log_gets_one_line_for_each_report():
    stream = io.StringIO()
    with display.display("psccnet-lite", 90, stream=stream) as shown:
        shown.update(0.25, FIGURES)
        shown.update(0.5, FIGURES | {"step": 80})
        shown.say("writes ema.pt")
    told = "18.0 images/s localisation 0.512 detection 0.250 waiting 3%"
    assert stream.getvalue().splitlines() == [
        f"psccnet-lite 25.0% step 40 {told} 1:07:30 left",
        f"psccnet-lite 50.0% step 80 {told} 0:45:00 left",
        "psccnet-lite writes ema.pt",
    ]


def test_losses_are_told_by_whatever_name_a_recipe_gives_them(tmp_path):
    report = Report(Progress())
    report.add({"manipulation": 5.9532, "gradient": 1.0, "rate": 1e-3})
    told = sentence(report.flush(Progress(step=1, samples=8)))
    assert re.fullmatch(r"[\d.]+ images/s manipulation 5\.953 waiting 0%", told)


def test_a_terminal_gets_a_bar_that_is_drawn_over_itself():
    stream = Terminal()
    with display.display("psccnet-lite", 90, stream=stream) as shown:
        shown.update(0.25, FIGURES)
        shown.update(0.5, FIGURES)
        shown.say("writes ema.pt")
    drawn = stream.getvalue()
    assert "\x1b[" in drawn
    assert sentence(FIGURES) in drawn
    assert "50%" in drawn
    assert "0:45:00 left" in drawn
    assert "psccnet-lite writes ema.pt" in drawn
    assert drawn.count("\n") < 5


def test_time_left_of_a_budget_in_steps_is_told_by_the_speed_so_far(monkeypatch):
    now = iter([0.0, 100.0, 130.0])
    monkeypatch.setattr(display.time, "monotonic", lambda: next(now))
    pace = Pace(0)
    assert pace.left(0.5) is None  # resumed half-way: what came before tells nothing about this machine
    assert pace.left(0.6) == pytest.approx(30 * 0.4 / 0.1)
    assert clock(None) == "-:--:-- left"


def test_work_is_passed_on_and_told_at_every_tenth():
    stream = io.StringIO()
    assert list(display.watched(range(25), name="samples", stream=stream)) == list(range(25))
    told = stream.getvalue().splitlines()
    assert len(told) == 10
    assert told[0] == "samples 3 of 25"
    assert told[-1] == "samples 25 of 25"


def test_work_is_a_bar_on_a_terminal():
    stream = Terminal()
    assert list(display.watched("abc", name="samples", stream=stream)) == ["a", "b", "c"]
    assert "100%" in stream.getvalue()
