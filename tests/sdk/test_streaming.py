"""Streams: in order, bounded, ended as they should be, whatever the source does and however slow the device is."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import cv2
import numpy as np
import pytest
from PIL import Image

import sdk
from sdk import sources
from sdk.analyzer import Input
from sdk.backends import onnxruntime
from sdk.contract import Thresholds
from sdk.errors import BadFrame, BadSetting, DecodeFailed, DeviceUnavailable, UnknownName, UnsupportedImage
from sdk.streaming import stream as streaming
from sdk.streaming.latest import Latest
from tests.sdk import toy
from tests.sdk.videos import make, noise

STILL, VIDEO = {"0.01": 0.8, "0.05": 0.6}, {"0.01": 0.3, "0.05": 0.2}


@pytest.fixture(scope="module")
def toy_of_video(tmp_path_factory):
    thresholds = {"0": Thresholds(photographs=STILL, video=VIDEO)}
    return toy.build(tmp_path_factory.mktemp("toy") / "toy", thresholds=thresholds)


@pytest.fixture(scope="module")
def analyzer(toy_of_video):
    with sdk.load(toy_of_video, backend="onnxruntime", decode="inline", threads=1) as loaded:
        yield loaded


def grey(level: int) -> np.ndarray:
    """A frame whose score is about its level, with waves and grain as photographs have them."""
    rows, columns = np.mgrid[:64, :64]
    wave = 6 * np.sin(rows / 12) * np.cos(columns / 12) + (7 * rows + 11 * columns + rows * columns) % 5 - 2
    return (level + (wave - wave.mean())[..., None].repeat(3, 2)).round().astype(np.uint8)


def level(moment) -> int:
    return round(float(moment.analysis.frame.mean()))


class Clip:
    """Frames 10, 11, 12, ... whose arrays it keeps count of; ``at`` calls something before a frame."""

    def __init__(self, count: int, at: dict[int, object] | None = None) -> None:
        self.count, self.at = count, at or {}
        self.alive: set[int] = set()
        self.most, self.given, self.closed = 0, 0, False

    def __iter__(self):
        try:
            for index in range(self.count):
                if index in self.at:
                    self.at[index]()
                frame = grey(10 + index % 200)
                self.alive.add(index)
                weakref.finalize(frame, self.alive.discard, index)
                self.most = max(self.most, len(self.alive))
                self.given += 1
                yield Input(frame, 1, "none: made", (), 0.0, is_video=True)
                del frame
        finally:
            self.closed = True


def fail() -> None:
    raise DecodeFailed("the cable was pulled", remedy="put it back")


def interrupt() -> None:
    raise KeyboardInterrupt


# What is given


def test_all_frames_come_in_order_with_their_numbers_and_times(analyzer):
    frames = [(0.5 * index, grey(10 + index)) for index in range(7)]
    with sdk.stream(frames, analyzer) as moments:
        got = [(moment.index, moment.time_s, moment.dropped, level(moment)) for moment in moments]
    assert got == [(index, 0.5 * index, 0, 10 + index) for index in range(7)]
    assert moments.summary.ended == "complete"
    assert moments.summary.frames == 7


def test_frames_of_video_have_thresholds_of_their_own(analyzer, tmp_path):
    frame = grey(100)  # a score of 0.39: nothing for a photograph
    Image.fromarray(frame).save(tmp_path / "a.png")
    assert analyzer.analyze(frame).verdict.name == "no_evidence"
    assert [moment.analysis.verdict.name for moment in sdk.stream([frame], analyzer)] == ["manipulated"]
    for stills in (tmp_path, [tmp_path / "a.png"]):
        assert [moment.analysis.verdict.name for moment in sdk.stream(stills, analyzer)] == ["no_evidence"]


def test_without_thresholds_of_video_nothing_is_said(toy_path):
    with sdk.load(toy_path, backend="onnxruntime", threads=1) as loaded:
        (moment,) = sdk.stream([grey(200)], loaded)
    assert moment.analysis.verdict.name == "inconclusive"
    assert "frames of video reach was not measured" in moment.analysis.verdict.reason


def test_a_video_is_analysed_as_its_frames_are(analyzer, tmp_path, rng):
    path = make(tmp_path / "a.mp4", noise(rng, 6))
    moments = list(sdk.stream(path, analyzer))
    assert [moment.time_s for moment in moments] == pytest.approx([index / 25 for index in range(6)])
    for moment in moments:
        again = analyzer.analyze(moment.analysis.frame)
        np.testing.assert_array_equal(moment.analysis.heatmap, again.heatmap)
        assert moment.analysis.score == again.score
        assert "h264, yuv420p, BT.709, limited range" in moment.analysis.runtime.decoder
        assert moment.analysis.latency.stages["decode"] > 0


def test_a_frame_that_had_to_be_repaired_is_inconclusive(analyzer, monkeypatch):
    captured = streaming.Captured(Input(grey(200), 1, "", (), 0.0, is_video=True), damage="concealing errors")
    monkeypatch.setattr(sources, "read", lambda *_: (one for one in [captured]))
    moments = sdk.stream([], analyzer)
    (moment,) = moments
    assert moment.analysis.verdict.name == "inconclusive"
    assert moment.analysis.verdict.reason == "the decoder had to repair this frame: concealing errors"
    assert moments.summary.damaged == 1


def test_colour_order_is_that_of_arrays(analyzer):
    frame = grey(50)
    frame[:, :, 0] += 40
    (moment,) = sdk.stream([frame[:, :, ::-1]], analyzer, color="bgr")
    np.testing.assert_array_equal(moment.analysis.frame, frame)


def test_a_folder_is_read_in_the_order_of_its_numbers(analyzer, tmp_path):
    for number in (1, 2, 10, 100):
        Image.fromarray(grey(10 + number)).save(tmp_path / f"frame-{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    moments = list(sdk.stream(tmp_path, analyzer))
    assert [level(moment) for moment in moments] == [11, 12, 20, 110]
    assert {moment.time_s for moment in moments} == {None}
    assert not sdk.stream(str(tmp_path), analyzer).summary.frames


def test_a_stack_of_frames_is_an_iterable(analyzer):
    assert [level(moment) for moment in sdk.stream(np.stack([grey(30), grey(40)]), analyzer)] == [30, 40]


class Camera:
    """What OpenCV has for a camera: three frames, then nothing."""

    def __init__(self, number: int) -> None:
        self.number, self.left, self.released = number, 3, False
        Camera.last = self

    def isOpened(self) -> bool:  # noqa: N802
        return self.number == 0

    def getBackendName(self) -> str:  # noqa: N802
        return "TEST"

    def read(self):
        self.left -= 1
        return self.left >= 0, grey(60) if self.left >= 0 else None

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize("number", [0, "0"])
def test_a_camera_gives_frames_until_it_is_pulled(analyzer, monkeypatch, number):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    moments, got = sdk.stream(number, analyzer), []
    with pytest.raises(DecodeFailed, match="camera 0 gives no more frames\n  -> see whether it is still connected"):
        got.extend(moments)
    assert [moment.index for moment in got] == [0, 1, 2]
    assert got[0].time_s == 0 < got[1].time_s < got[2].time_s
    assert got[0].analysis.runtime.decoder.startswith("OpenCV ")
    assert Camera.last.released
    with pytest.raises(DeviceUnavailable, match="camera 7 cannot be opened\n  -> see /dev/video"):
        next(sdk.stream(7, analyzer))


# What is refused


@pytest.mark.parametrize("source", [None, 1.5, -1, b"bytes of a video", True], ids=repr)
def test_what_is_no_source_is_refused_at_once(analyzer, source):
    with pytest.raises(BadSetting, match=r"a stream cannot be made of .*\n  -> give the path of a video or folder"):
        sdk.stream(source, analyzer)


@pytest.mark.parametrize("setting", [{"keep": "newest"}, {"matrix": "bt2020"}, {"color": "grb"}], ids=str)
def test_wrong_names_are_refused_at_once(analyzer, setting):
    with pytest.raises(UnknownName, match=r"no .* named"):
        sdk.stream([], analyzer, **setting)


def test_limits_are_those_of_video(analyzer):
    with pytest.raises(BadSetting, match=r"limits is Limits\(.*\n  -> give sdk\.VideoLimits"):
        sdk.stream([], analyzer, limits=sdk.Limits())


def test_an_analyzer_is_one_of_ours():
    with pytest.raises(BadSetting, match="a stream cannot be analysed with 'psccnet-lite'\n  -> give what sdk"):
        sdk.stream([], "psccnet-lite")


def test_addresses_that_are_not_read_are_refused(analyzer):
    with pytest.raises(BadSetting, match="https:// is not read\n  -> fetch the file first, or give an rtsp:// address"):
        next(sdk.stream("https://example.org/a.mp4", analyzer))


def test_a_folder_without_images_is_refused(analyzer, tmp_path):
    with pytest.raises(UnsupportedImage, match="is a folder without images"):
        next(sdk.stream(tmp_path, analyzer))


def test_every_kind_of_source_says_what_it_claims():
    ranks = [sources.get(name).RANK for name in sources.names()]
    assert len(set(ranks)) == len(ranks) == 4
    kinds = {"a.mp4": "video", "rtsp://camera/1": "video", "3": "camera", 3: "camera", ".": "folder", (): "frames"}
    assert {source: sources.kind(source) for source in kinds} == kinds


# How it ends


def test_an_error_of_the_source_comes_after_every_frame_before_it(analyzer):
    moments, got = sdk.stream(Clip(9, {5: fail}), analyzer), []
    with pytest.raises(DecodeFailed, match="the cable was pulled"):
        got.extend(moments)
    assert [moment.index for moment in got] == [0, 1, 2, 3, 4]
    assert moments.summary.frames == 5
    assert (moments.summary.ended, moments.summary.problem) == ("failed", "the cable was pulled\n  -> put it back")
    assert next(moments, None) is None


def test_an_error_of_an_analysis_is_raised_in_its_turn(analyzer):
    moments, got = sdk.stream([grey(10), grey(20), np.zeros((4, 4, 7), np.uint8), grey(30)], analyzer), []
    with pytest.raises(BadFrame, match=r"a frame is \[H, W, 3\]"):
        got.extend(moments)
    assert [level(moment) for moment in got] == [10, 20]


def test_ctrl_c_loses_nothing_that_was_given(analyzer):
    clip = Clip(9, {4: interrupt})
    with sdk.stream(clip, analyzer) as moments:
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            list(moments)
        assert moments.summary.frames >= 2
    assert moments.summary.ended == "closed"
    assert clip.closed


def test_closing_early_closes_the_source_and_no_analyzer_that_was_given(analyzer):
    clip = Clip(100)
    moments = sdk.stream(clip, analyzer)
    assert next(moments).index == 0
    moments.close()
    moments.close()
    assert clip.closed
    assert clip.given <= 4
    assert moments.summary.ended == "closed"
    assert analyzer.analyze(grey(10)).score > 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("imdl-stream", "imdl-latest"))]


def test_a_loop_that_is_left_lets_go_of_everything(analyzer, tmp_path, rng):
    for _ in sdk.stream(make(tmp_path / "a.mp4", noise(rng, 9)), analyzer):
        break
    clip = Clip(100)
    for _ in sdk.stream(clip, analyzer):
        break
    assert clip.closed
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("imdl-stream", "imdl-latest"))]


def test_without_an_analyzer_one_is_loaded_and_closed(monkeypatch, toy_of_video):
    made = []

    def load():
        made.append(sdk.load(toy_of_video, backend="onnxruntime", threads=1))
        return made[-1]

    monkeypatch.setattr(streaming, "load", load)
    stream = sdk.stream([grey(10)])
    assert not made
    assert len(list(stream)) == 1
    with pytest.raises(sdk.AnalyzerClosed, match="was closed"):
        made[0].analyze(grey(10))


# How much it holds


class Simulated:
    """A device with one engine each for copies up, arithmetic and copies down, and places for ``parallel`` frames."""

    parallel = 3
    UP, RUN, DOWN = 0.002, 0.004, 0.002

    def __init__(self, real) -> None:
        self.real, self.log, self.running, self.most = real, [], 0, 0
        self.places = threading.Semaphore(self.parallel)
        self.engines = {name: threading.Lock() for name in ("up", "run", "down")}
        self.counting = threading.Lock()

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
                    start = time.monotonic()
                    time.sleep(seconds)
                    if name == "run":
                        box["outputs"] = device.real.run(feeds)
                    device.log.append((name, start, time.monotonic()))

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
def simulated(toy_of_video, monkeypatch):
    """An Analyzer on a device of which every graph is a session; the ones of the graph ``rest`` are looked at."""
    devices, real = {}, onnxruntime.open

    def opened(artifact, graph, **settings):
        devices[graph] = Simulated(real(artifact, graph, **settings))
        return devices[graph]

    monkeypatch.setattr(onnxruntime, "open", opened)
    with sdk.load(toy_of_video, backend="onnxruntime", decode="inline", threads=1) as loaded:
        yield loaded, devices


def test_copies_and_arithmetic_of_different_frames_overlap_and_order_stays(simulated):
    analyzer, devices = simulated
    moments = sdk.stream(Clip(12), analyzer)
    assert [level(moment) for moment in moments] == list(range(10, 22))
    device = devices["rest"]
    assert 1 < device.most <= device.parallel
    runs = [(start, end) for name, start, end in device.log if name == "run"]
    copies = [(start, end) for name, start, end in device.log if name != "run"]
    assert any(a < end and start < b for a, b in runs for start, end in copies)


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


# keep="latest"


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


def test_a_stream_holds_no_cycle_that_only_the_collector_breaks(analyzer):
    gc.disable()
    try:
        moments = sdk.stream([grey(10)] * 3, analyzer)
        list(moments)
        gone = weakref.ref(moments)
        del moments
        assert gone() is None
    finally:
        gc.enable()


def test_a_moment_is_its_analysis_and_its_place(analyzer):
    (moment,) = sdk.stream([(1.5, grey(90))], analyzer)
    assert moment.to_dict() == {"index": 0, "time_s": 1.5, "dropped": 0, "analysis": moment.analysis.to_dict()}
