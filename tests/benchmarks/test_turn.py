"""A turn ends with figures or with the reason why there are none."""

from __future__ import annotations

import sys

import pytest

from benchmarks import turn
from benchmarks.turn import Job, TurnFailed, reason, take


def job(**changes):
    return Job(**{"load": "eager", "options": {}, "height": 8, "width": 8, "warmup": 1, "calls": 1, **changes})


def test_a_contender_that_raises_is_told_by_its_exception():
    with pytest.raises(TurnFailed, match=r"TypeError: eager\(\) missing 1 required positional argument: 'checkpoint'"):
        take(job(options={"threads": 1}), limit_s=60)


def test_a_contender_that_is_killed_or_never_ends_is_told_apart(monkeypatch, tmp_path):
    package = tmp_path / "benchmarks"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setattr(turn, "ROOT", tmp_path)
    (package / "turn.py").write_text("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(TurnFailed, match="ended by SIGKILL"):
        take(job(), limit_s=60)
    (package / "turn.py").write_text("import time; time.sleep(60)")
    with pytest.raises(TurnFailed, match=r"not done within 0\.5 s"):
        take(job(), limit_s=0.5)


def test_the_reason_is_the_last_exception_with_its_remedy():
    stderr = 'Traceback (most recent call last):\n  File "x", line 1\nsdk.errors.Gone: no bf16\n  -> use f32\n'
    assert reason(stderr) == "sdk.errors.Gone: no bf16 -> use f32"
    assert reason("") == ""


def test_the_interpreter_is_this_one(monkeypatch):
    monkeypatch.setattr(turn.subprocess, "run", lambda command, **_: pytest.fail(command[0]))
    with pytest.raises(pytest.fail.Exception, match=sys.executable):
        take(job(), limit_s=1)
