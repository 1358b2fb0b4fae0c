"""A stream on a device that is slow on purpose: copies and arithmetic overlap, and what is held is bounded."""

from __future__ import annotations

import threading
import time

import pytest

import sdk
from sdk.backends import onnxruntime
from tests.sdk.clips import Clip, level, toy_of_video

PATIENCE_S = 5
"""Time in which a frame follows another, whatever else the machine does."""


class Simulated:
    """A device with one engine each for copies up, arithmetic and copies down, and places for ``parallel`` frames."""

    parallel = 3
    UP, RUN, DOWN = 0.002, 0.004, 0.002

    def __init__(self, real) -> None:
        self.real, self.running, self.most = real, 0, 0
        self.places = threading.Semaphore(self.parallel)
        self.engines = {name: threading.Lock() for name in ("up", "run", "down")}
        self.counting = threading.Lock()
        self.overlapped = threading.Event()
        """A copy began while a frame was computed."""

    def run(self, feeds):
        with self.places:
            return self.submit(feeds).result()

    def submit(self, feeds):
        with self.counting:
            self.running += 1
            self.most = max(self.most, self.running)
        device, box = self, {}

        def work() -> None:
            for name, seconds in (("up", self.UP), ("run", self.RUN), ("down", self.DOWN)):
                with device.engines[name]:
                    if name == "run":
                        device.overlapped.wait(PATIENCE_S)  # for a copy, which comes at once or never
                        box["outputs"] = device.real.run(feeds)
                    elif device.engines["run"].locked():
                        device.overlapped.set()
                    time.sleep(seconds)

        thread = threading.Thread(target=work)
        thread.start()

        class Pending:
            def result(self):
                thread.join()
                with device.counting:
                    device.running -= 1
                return box["outputs"]

        return Pending()

    def close(self) -> None:
        self.real.close()


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    """An Analyzer on a device of which every graph is a session; the ones of the graph ``rest`` are looked at."""
    devices, real = {}, onnxruntime.open

    def opened(artifact, graph, **settings):
        devices[graph] = Simulated(real(artifact, graph, **settings))
        return devices[graph]

    monkeypatch.setattr(onnxruntime, "open", opened)
    with sdk.load(toy_of_video(tmp_path), backend="onnxruntime", decode="inline", threads=1) as loaded:
        yield loaded, devices


def test_copies_and_arithmetic_of_different_frames_overlap_and_order_stays(simulated):
    analyzer, devices = simulated
    moments = sdk.stream(Clip(12), analyzer)
    assert [level(moment) for moment in moments] == list(range(10, 22))
    device = devices["rest"]
    assert 1 < device.most <= device.parallel
    assert device.overlapped.is_set()


def test_what_is_held_is_bounded_by_the_lanes_whatever_the_length(simulated):
    analyzer, _ = simulated
    lanes = analyzer.parallel
    clip = Clip(40)
    for count, moment in enumerate(sdk.stream(clip, analyzer)):
        assert clip.given <= count + lanes + 2
        del moment
    assert lanes + 1 <= clip.most <= lanes + 3  # in flight, one that waits, the caller's and the one just made


def test_a_slow_caller_is_waited_for(simulated):
    analyzer, _ = simulated
    clip = Clip(50)
    with sdk.stream(clip, analyzer) as moments:
        next(moments)
        time.sleep(0.2)
        assert clip.given <= analyzer.parallel + 1
