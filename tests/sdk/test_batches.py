"""A batch loses nothing: what cannot be analysed is an error in its place, and the others are what they are alone."""

from __future__ import annotations

import numpy as np
import pytest

import sdk
from sdk import batches
from tests.sdk.files import saved, scene


@pytest.fixture
def sources(rng, tmp_path):
    """Frames, a file's bytes and a path that are sound, and between them what cannot be analysed."""
    frame = scene(rng, 64, 80, high=200)
    (tmp_path / "a.png").write_bytes(saved(frame, "PNG"))
    sound = [frame, saved(frame[:, ::-1], "PNG"), tmp_path / "a.png"]
    broken = [saved(frame, "PNG")[:99], frame.astype(np.float32), tmp_path / "nothing.png", None]
    return [broken[0], sound[0], broken[1], sound[1], broken[2], sound[2], broken[3]]


def test_errors_stand_in_the_places_of_their_inputs(analyzer, sources):
    found = analyzer.analyze_batch(sources, errors="return")
    kinds = [type(one) for one in found]
    assert kinds == [
        sdk.DecodeFailed, sdk.Analysis, sdk.BadFrame, sdk.Analysis, sdk.DecodeFailed, sdk.Analysis, sdk.BadFrame,
    ]  # fmt: skip
    for place in (1, 3, 5):
        assert found[place].score == pytest.approx(analyzer.analyze(sources[place]).score, abs=1e-6)


def test_without_being_asked_the_first_error_ends_the_call(analyzer, sources):
    with pytest.raises(sdk.DecodeFailed, match="cannot be decoded"):
        analyzer.analyze_batch(sources)
    with pytest.raises(sdk.UnknownName, match="no way with errors named 'ignore'"):
        analyzer.analyze_batch(sources, errors="ignore")


def test_what_concerns_the_whole_call_is_raised_all_the_same(analyzer, sources):
    with pytest.raises(sdk.UnknownName, match="no colour order named 'gbr'"):
        analyzer.analyze_batch(sources[1:2], color="gbr", errors="return")


@pytest.mark.parametrize(
    "one",
    ["a.png", b"file", memoryview(b"file"), np.zeros((4, 4, 3), np.uint8), None, 5],
    ids=lambda one: type(one).__name__,
)
def test_one_source_is_no_batch(analyzer, one):
    with pytest.raises(sdk.BadSetting, match="was given one source\n  -> give a list of sources, or call analyze"):
        analyzer.analyze_batch(one, errors="return")


def test_an_array_of_frames_is_a_batch(analyzer, rng):
    frames = np.stack([scene(rng, 64, 80), scene(rng, 64, 80)])
    assert [one.latency.batch for one in analyzer.analyze_batch(frames)] == [2, 2]


def test_inputs_that_fail_together_are_tried_alone(rng):
    class Frame:
        def __init__(self, number):
            self.number, self.frame = number, np.zeros((8, 8, 3), np.uint8)

    def together(inputs):
        if len(inputs) > 2 or inputs[0].number == 1:
            raise sdk.RunFailed("out of memory", remedy="none")
        return [one.number for one in inputs]

    found = batches.run(range(4), Frame, together, working_size=0, keeps_errors=True)
    assert [one if isinstance(one, int) else str(one) for one in found] == [0, "out of memory\n  -> none", 2, 3]


class Device:
    """Takes ``start`` ms for a group and ``each`` for a frame of it; its own clock."""

    def __init__(self, start: float, each: float, *, most: int = 1000) -> None:
        self.start, self.each, self.most, self.now, self.sizes = start, each, most, 0.0, []

    def play(self, count: int, **settings: object) -> list[int]:
        pace = batches.Pace(clock=lambda: self.now / 1e3, **settings)
        seen = []
        for group in pace.cut(range(count), self.most):
            self.now += self.start + self.each * len(group)
            self.sizes.append(len(group))
            seen += group
        assert seen == list(range(count))
        return self.sizes


def test_groups_grow_while_a_frame_costs_less_in_them():
    """A frame takes 11, 6, 3.5, 2.25, 1.63, 1.31, 1.16, 1.08 ms; from 128 to 256 at once it gains less than 5 %."""
    sizes = Device(10, 1).play(2000, batch="auto")
    assert sizes[:10] == [1, 1, 2, 2, 4, 4, 8, 8, 16, 16]
    assert sizes[16:18] == [256, 256]
    assert set(sizes[18:-1]) == {128}


def test_where_nothing_is_gained_frames_stay_alone():
    assert set(Device(0, 5).play(40, batch="auto")[4:]) == {1}


@pytest.mark.parametrize("latency_ms", [1, 12, 20, 45, 300])
def test_none_but_a_single_frame_takes_longer_than_the_bound(latency_ms):
    device = Device(10, 1)
    sizes = device.play(900, batch="auto", latency_ms=latency_ms)
    longest = max(sizes)
    assert longest == 1 or 10 + longest <= latency_ms
    assert longest == max([1, *(size for size in (2, 4, 8, 16, 32, 64, 128, 256) if 2 * (10 + size / 2) <= latency_ms)])


def test_a_number_is_kept_to_and_never_more_than_pixels_allow():
    assert Device(1, 1).play(10, batch=4) == [4, 4, 2]
    assert Device(1, 1, most=3).play(7, batch=4) == [3, 3, 1]
    assert set(Device(9, 0, most=8).play(99, batch="auto")[:-1]) == {1, 2, 4, 8}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch": 0}, "batch is 0\n  -> give a number"),
        ({"batch": True}, "batch is True"),
        ({"batch": "many"}, "batch is 'many'"),
        ({"batch": 2, "latency_ms": 5}, "latency_ms is 5 with batch=2"),
        ({"batch": "auto", "latency_ms": 0}, "latency_ms is 0 with batch='auto'"),
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(settings, words):
    with pytest.raises(sdk.BadSetting, match=words):
        batches.Pace(**settings)


def test_the_analyzer_gives_the_same_results_whatever_the_pace(toy_path, rng):
    frames = [scene(rng, 64, 80, high=200) for _ in range(7)]
    with sdk.load(toy_path, backend="onnxruntime", threads=1) as loaded:
        alone = [loaded.analyze(frame).score for frame in frames]
        for settings in ({"batch": 3}, {"batch": "auto"}, {"batch": "auto", "latency_ms": 1e-6}):
            found = loaded.analyze_batch(frames, **settings)
            assert [one.score for one in found] == pytest.approx(alone, abs=1e-6)
            assert max(one.latency.batch for one in found) <= (1 if "latency_ms" in settings else 4)


@pytest.mark.parametrize("kind", [sdk.DeviceUnavailable, sdk.LimitExceeded])
@pytest.mark.parametrize("keeps_errors", [True, False])
def test_what_is_too_much_at_once_is_halved(kind, keeps_errors):
    class Frame:
        def __init__(self, number):
            self.number, self.frame = number, np.zeros((8, 8, 3), np.uint8)

    asked = []

    def together(inputs):
        asked.append(len(inputs))
        if len(inputs) > 2:
            raise kind("no engine for as many", remedy="none")
        return [one.number for one in inputs]

    assert batches.run(range(5), Frame, together, working_size=0, keeps_errors=keeps_errors) == [0, 1, 2, 3, 4]
    assert asked == [5, 2, 2, 1]
