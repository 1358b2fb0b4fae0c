"""Streams: in order, bounded, ended as they should be, whatever the source does and however slow the device is."""

from __future__ import annotations

import gc
import itertools
import json
import tempfile
import threading
import weakref
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

import sdk
from sdk import sources
from sdk.errors import (
    BadFrame,
    BadSetting,
    DecodeFailed,
    DeviceUnavailable,
    UnknownName,
)
from sdk.inputs import Input
from sdk.streaming import stream as streaming
from tests.sdk.clips import Clip, fail, grey, interrupt, level, toy_of_video
from tests.sdk.videos import make, noise


@pytest.fixture(scope="module")
def analyzer(tmp_path_factory):
    path = toy_of_video(tmp_path_factory.mktemp("toy"))
    with sdk.load(path, backend="onnxruntime", decode="inline", threads=1) as loaded:
        yield loaded


# What is given


def test_a_decoder_may_write_every_frame_where_the_last_one_was(analyzer, monkeypatch):
    """Every analysis waits until the next frame is there; the caller need not copy."""
    given, changed = [0], threading.Condition()

    def frames():
        buffer = np.empty((64, 64, 3), np.uint8)
        for index in range(8):
            buffer[:] = grey(10 + index)
            with changed:
                given[0] = index + 1
                changed.notify_all()
            yield buffer
        with changed:
            given[0] = 99
            changed.notify_all()

    real, asked = streaming._analysis, itertools.count(2)

    def late(*arguments):
        with changed:
            wanted = next(asked)
            assert changed.wait_for(lambda: given[0] >= wanted, 30)
        return real(*arguments)

    monkeypatch.setattr(streaming, "_analysis", late)
    assert [level(moment) for moment in sdk.stream(frames(), analyzer)] == list(range(10, 18))


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
    for stills in (tmp_path, [tmp_path / "a.png"], [memoryview((tmp_path / "a.png").read_bytes())]):
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


class Surface:
    """A frame of a decoder that shows its memory and offers nothing else."""

    def __init__(self, memory) -> None:
        self.__array_interface__ = memory.__array_interface__


def test_frames_that_show_their_memory_are_taken_over_and_their_decoder_is_told(analyzer):
    def frames():
        memory = np.empty((64, 64, 3), np.uint8)
        for index in range(5):
            memory[:] = grey(10 + index)
            yield Surface(memory)

    got = list(sdk.stream(frames(), analyzer, decoder="made 1.0"))
    assert [level(moment) for moment in got] == list(range(10, 15))
    assert {moment.analysis.runtime.decoder for moment in got} == {"none: tests.Surface, decoded by made 1.0"}


def test_what_is_no_frame_by_protocol_is_refused(analyzer):
    with pytest.raises(BadFrame, match=r"dtype float64\n  -> if its values are 0\.\.1"):
        list(sdk.stream([Surface(np.zeros((4, 4, 3)))], analyzer))


@pytest.mark.parametrize(
    ("element", "kinds"),
    [
        ((None, grey(9)), "NoneType, ndarray"),
        (("a", grey(9)), "str, ndarray"),
        ((1.0, grey(9), 2), "float, ndarray, int"),
    ],
)
def test_a_pair_that_is_none_is_told_what_it_needs(analyzer, element, kinds):
    words = (
        rf"a pair is \(seconds from the start, frame\), got \({kinds}\)\n  -> give a number of seconds, or the frame"
    )
    with pytest.raises(BadFrame, match=words):
        list(sdk.stream([element], analyzer))


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")], ids=str)
def test_a_time_is_finite(analyzer, seconds):
    with pytest.raises(BadFrame, match=f"a frame's time is {seconds} seconds\n  -> give seconds from the start"):
        list(sdk.stream([(seconds, grey(9))], analyzer))


@pytest.mark.parametrize("decoder", ["", 9])
def test_a_decoder_is_told_in_words(analyzer, decoder):
    with pytest.raises(BadSetting, match=f"decoder is {decoder!r}\n  -> give name and version of what made the array"):
        list(sdk.stream([grey(30)], analyzer, decoder=decoder))


def test_a_stack_of_frames_is_an_iterable(analyzer):
    assert [level(moment) for moment in sdk.stream(np.stack([grey(30), grey(40)]), analyzer)] == [30, 40]


@pytest.mark.parametrize("time", [0.5, np.float32(0.5), Fraction(1, 2), 1], ids=repr)
def test_times_are_numbers_of_any_kind(analyzer, time):
    (moment,) = sdk.stream([(time, grey(30))], analyzer)
    assert json.loads(moment.to_json())["time_s"] == float(time)


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


def test_a_number_that_no_camera_can_have_is_a_camera_that_cannot_be_opened(analyzer):
    with pytest.raises(DeviceUnavailable, match="camera 99999999999 cannot be opened"):
        next(sdk.stream(99_999_999_999, analyzer))


# What is refused


@pytest.mark.parametrize("source", [None, 1.5, -1, b"bytes of a video", True], ids=lambda one: repr(one)[:20])
def test_what_is_no_source_is_refused_at_once(analyzer, source):
    with pytest.raises(BadSetting, match=r"(?s)a stream cannot be made of .*\n  -> give the path of a video or folder"):
        sdk.stream(source, analyzer)


def test_an_open_file_and_a_mapping_are_no_iterables_of_frames(analyzer, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"1\n2\n")
    with (tmp_path / "clip.mp4").open("rb") as file, tempfile.NamedTemporaryFile() as other:
        for source in (file, other, {"clip.mp4": 1}):
            with pytest.raises(BadSetting, match=r"(?s)a stream cannot be made of .*-> give the path of a video"):
                sdk.stream(source, analyzer)


def test_one_frame_is_refused_by_its_shape(analyzer):
    said = r"made of one array, uint8 of shape \[\d+, \d+, 3\]\n  -> if it is one frame, call sdk\.analyze; .* a list"
    with pytest.raises(BadSetting, match=said):
        sdk.stream(grey(30), analyzer)


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


@pytest.mark.parametrize(
    ("path", "said"),
    [("", "the empty path is a folder\n"), ("x" * 5000, "x cannot be opened: File name too long\n")],
    ids=["empty", "long"],
)
def test_paths_that_no_file_has_are_refused(analyzer, path, said):
    with pytest.raises(DecodeFailed, match=said):
        next(sdk.stream(path, analyzer))


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


def test_without_an_analyzer_one_is_loaded_and_closed(monkeypatch, analyzer):
    made = []

    def load():
        made.append(sdk.load(analyzer.artifact.path, backend="onnxruntime", threads=1))
        return made[-1]

    monkeypatch.setattr(streaming, "load", load)
    stream = sdk.stream([grey(10)])
    assert not made
    assert len(list(stream)) == 1
    with pytest.raises(sdk.AnalyzerClosed, match="was closed"):
        made[0].analyze(grey(10))


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
