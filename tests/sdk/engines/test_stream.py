"""A stream through an engine: one frame goes up, one is computed, one comes down, and nothing more is taken."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import sdk
from sdk.engines.trt_backend import Session
from tests.sdk.clips import Clip

LANES = 3
PATIENCE_S = 15
"""Time in which threads get to where they wait, whatever else the machine does."""


class Gate:
    """In place of the wait for a stream: holds whoever waits until it is opened."""

    def __init__(self, wait) -> None:
        self.wait, self.changed = wait, threading.Condition()
        self.held, self.is_open = 0, False

    def __call__(self, stream):
        with self.changed:
            self.held += 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.is_open, 4 * PATIENCE_S)
        return self.wait(stream)

    def holds(self, count: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.held >= count, PATIENCE_S)

    def open(self) -> None:
        with self.changed:
            self.is_open = True
            self.changed.notify_all()


@pytest.fixture
def analyzer(package, artifact_path):
    with sdk.load(artifact_path, backend="tensorrt", device="cuda", working_size=0) as loaded:
        loaded.warmup(64, 64)
        yield loaded


@pytest.fixture
def gate(device, monkeypatch):
    made = Gate(device.cudaStreamSynchronize)
    monkeypatch.setattr(sys.modules["cuda.bindings.runtime"], "cudaStreamSynchronize", made)
    yield made
    made.open()


def test_three_frames_are_under_way_and_one_waits_while_none_is_done(analyzer, device, gate):
    clip = Clip(20)
    before = len(device.streams)
    with ThreadPoolExecutor(1) as pool:
        try:
            levels = pool.submit(lambda: [round(255 * one.analysis.score) for one in sdk.stream(clip, analyzer)])
            assert gate.holds(LANES)
            end = time.monotonic() + PATIENCE_S
            while clip.given < LANES + 1 and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.1)  # in which nothing more may happen
            assert (gate.held, clip.given) == (LANES, LANES + 1)
        finally:
            gate.open()
        assert levels.result(PATIENCE_S) == list(range(10, 30))
    assert len(device.streams) - before <= LANES  # each with memory of its own, used again and again
    assert clip.closed


def test_leaving_early_takes_no_more_and_leaves_nothing_queued(analyzer, device):
    clip = Clip(1000)
    with sdk.stream(clip, analyzer) as moments:
        assert [round(255 * next(moments).analysis.score) for _ in range(5)] == list(range(10, 15))
    assert moments.summary.ended == "closed"
    assert clip.closed
    assert clip.given <= 5 + LANES + 1
    assert not any(device.streams.values())


def test_sessions_on_a_gpu_have_a_lane_for_each_way(analyzer):
    assert (Session.parallel, analyzer.parallel) == (LANES, LANES)
