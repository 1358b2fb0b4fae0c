"""``keep="latest"``: the newest frame, those that were passed over counted, whatever the source does."""

from __future__ import annotations

import threading
import time

import pytest

import sdk
from sdk import sources
from sdk.errors import DecodeFailed
from sdk.streaming import stream as streaming
from sdk.streaming.latest import Latest
from tests.sdk.clips import Clip, fail, grey, interrupt, level, toy_of_video
from tests.sdk.videos import make, noise


@pytest.fixture(scope="module")
def analyzer(tmp_path_factory):
    path = toy_of_video(tmp_path_factory.mktemp("toy"))
    with sdk.load(path, backend="onnxruntime", decode="inline", threads=1) as loaded:
        yield loaded


class Live:
    """A camera that waits for nobody: frame ``n`` comes when ``show`` says so."""

    def __init__(self) -> None:
        self.shown = threading.Semaphore(0)
        self.taken = threading.Semaphore(0)
        self.ended = self.closed = False

    def __iter__(self):
        try:
            index = 0
            while True:
                self.shown.acquire()
                if self.ended:
                    return
                yield grey(10 + index)
                index += 1
                self.taken.release()
        finally:
            self.closed = True

    def show(self, count: int) -> None:
        """Let frames come, and wait until the next one is waited for."""
        for _ in range(count):
            self.shown.release()
            assert self.taken.acquire(timeout=10)

    def end(self) -> None:
        self.ended = True
        self.shown.release()


def test_latest_passes_over_what_comes_meanwhile_and_says_so(analyzer):
    camera = Live()
    moments = sdk.stream(camera, analyzer, keep="latest")
    camera_thread = threading.Thread(target=camera.show, args=(1,))
    camera_thread.start()
    first = next(moments)
    camera_thread.join()
    camera.show(4)
    second = next(moments)
    camera.show(1)
    third = next(moments)
    camera.end()
    assert next(moments, None) is None
    got = [(moment.index, level(moment), moment.dropped) for moment in (first, second, third)]
    assert got == [(0, 10, 0), (4, 14, 3), (5, 15, 0)]
    assert (moments.summary.frames, moments.summary.dropped) == (3, 3)
    assert camera.closed


def test_latest_gives_the_last_frame_before_an_error(analyzer):
    moments = sdk.stream(Clip(6, {5: fail}), analyzer, keep="latest")
    got = []
    with pytest.raises(DecodeFailed, match="the cable was pulled"):
        got.extend(moments)
    assert got[-1].index == 4
    assert moments.summary.frames + moments.summary.dropped == 5


def test_an_interrupt_of_the_source_is_the_callers(analyzer):
    moments = sdk.stream(Clip(9, {2: interrupt}), analyzer, keep="latest")
    with moments, pytest.raises(KeyboardInterrupt, match=r"^$"):
        list(moments)
    assert moments.summary.ended == "closed"


def test_a_file_plays_at_its_own_pace(tmp_path, rng, analyzer):
    path = make(tmp_path / "a.mp4", noise(rng, 6), times=[0, 0.05, 0.1, 0.15, 0.2, 0.3])
    start = time.monotonic()
    moments = list(sdk.stream(path, analyzer, keep="latest"))
    assert time.monotonic() - start >= 0.3
    assert moments[-1].index == 5
    assert moments[-1].dropped + sum(moment.dropped for moment in moments[:-1]) == 6 - len(moments)


def test_latest_is_closed_while_its_source_is_waited_for(monkeypatch):
    monkeypatch.setattr("sdk.streaming.latest.PATIENCE_S", 0.05)
    camera = Live()
    captured = sources.read(camera, streaming.Settings())
    latest = Latest(captured)
    latest.close()
    assert not camera.closed  # its thread still waits
    camera.end()
    latest._thread.join(10)
    assert camera.closed
