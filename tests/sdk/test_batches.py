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
    "one", ["a.png", b"file", memoryview(b"file"), np.zeros((4, 4, 3), np.uint8), None, 5], ids=repr
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
