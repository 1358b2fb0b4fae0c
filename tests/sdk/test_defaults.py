"""``sdk.analyze`` loads once by model and device, and starts anew after a fork or ``sdk.close``."""

from __future__ import annotations

import os
import signal

import pytest

import sdk
from sdk import defaults


@pytest.fixture(autouse=True)
def closed_afterwards():
    yield
    sdk.close()


def test_loads_once_and_again_after_close(toy_path, frame):
    first = sdk.analyze(frame, model=toy_path, device="cpu")
    kept = list(defaults._analyzers.values())
    again = sdk.analyze(frame[:, :, ::-1], model=toy_path, device="cpu", color="bgr", decoder="made 1.0")
    assert list(defaults._analyzers.values()) == kept
    assert again.score == first.score
    assert again.runtime.decoder.endswith(", decoded by made 1.0")
    sdk.close()
    with pytest.raises(sdk.AnalyzerClosed, match="was closed"):
        kept[0].analyze(frame)
    assert sdk.analyze(frame, model=toy_path, device="cpu", min_score=0.99).heatmap is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_starts_anew_even_if_the_lock_was_held(toy_path, frame):
    score = sdk.analyze(frame, model=toy_path).score
    with defaults._lock:
        child = os.fork()
        if child == 0:  # leaves by _exit alone: pytest must not go on twice
            signal.alarm(30)  # ends a child that hangs
            same = False
            try:
                anew = not defaults._analyzers
                same = anew and sdk.analyze(frame, model=toy_path).score == score
            finally:
                os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_public_names_exist():
    for name in sdk.__all__:
        assert getattr(sdk, name) is not None
    assert dir(sdk) == sorted(sdk.__all__)
    with pytest.raises(AttributeError, match="module 'sdk' has no attribute 'analyse'"):
        sdk.analyse  # noqa: B018
