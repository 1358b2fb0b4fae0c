"""The papers' distortions do what their names say, and clips and large forgeries are what they claim to be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from training.evaluation import clips, large
from training.evaluation.distortions import DISTORTIONS, FAMILIES, POSTPROCESSED, POSTPROCESSING
from training.evaluation.predictors import Answer

BY_NAME = {distortion.name: distortion for distortion in (*DISTORTIONS, *POSTPROCESSING)}


@pytest.fixture
def frame(rng):
    smooth = cv2.resize(rng.integers(40, 215, (9, 12, 3), np.uint8), (120, 90), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(smooth)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_distortion_changes_the_frame_and_is_the_same_for_the_same_seed(name, frame):
    truth = np.zeros(frame.shape[:2], bool)
    truth[20:50, 30:70] = True
    first, again = (BY_NAME[name](frame, np.random.default_rng(3), truth) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.uint8
    assert first.shape != frame.shape or (first != frame).any()
    assert BY_NAME[name].paper


def test_parameters_are_those_of_the_tables(frame, rng):
    assert BY_NAME["resize 0.78"](frame, rng).shape == (70, 94, 3)
    assert BY_NAME["resize 0.25"](frame, rng).shape == (22, 30, 3)
    noise = BY_NAME["noise 15"](frame, rng).astype(np.float64) - frame
    assert noise.std() == pytest.approx(15, rel=0.05)
    mild, strong = (np.abs(BY_NAME[name](frame, rng).astype(int) - frame).mean() for name in ("jpeg 100", "jpeg 50"))
    assert mild < strong
    assert {distortion.family for distortion in DISTORTIONS} == {*FAMILIES, "mixed"}
    drawn = [BY_NAME["mixed"](frame, np.random.default_rng(seed)).shape[0] / 90 for seed in range(20)]
    assert 0.24 < min(drawn) < 0.5 < max(drawn) < 0.79


def test_only_what_lies_along_the_border_of_a_forgery_is_smoothed(rng):
    frame = rng.integers(0, 256, (60, 80, 3), np.uint8)
    truth = np.zeros((60, 80), bool)
    truth[20:40, 30:60] = True
    changed = (BY_NAME["smooth edges 7"](frame, rng, truth) != frame).any(2)
    inner, outer = np.zeros_like(truth), np.zeros_like(truth)
    inner[23:37, 33:57] = True
    outer[17:43, 27:63] = True
    np.testing.assert_array_equal(changed, outer & ~inner)
    for nothing in (None, np.zeros_like(truth)):
        assert BY_NAME["smooth edges 7"](frame, rng, nothing) is frame
    assert {distortion.family for distortion in POSTPROCESSING} == set(POSTPROCESSED)


@pytest.fixture
def clip(tmp_path, rng):
    scene = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (98, 71), interpolation=cv2.INTER_CUBIC)
    clips.reencode((np.roll(scene, shift, axis=1) for shift in range(12)), tmp_path / "clip.mp4")
    return tmp_path / "clip.mp4"


def test_a_clip_goes_through_the_codec_and_comes_back(clip, monkeypatch):
    frames = list(clips.read(clip))
    assert (len(frames), frames[0].shape) == (12, (70, 98, 3))
    monkeypatch.setattr(clips, "FRAMES", 5)
    assert len(list(clips.spread(clip))) == 5


def test_the_share_of_flagged_frames_is_counted_on_both(clip):
    seen = []

    class Alternating:
        video_thresholds = {"0.05": 0.5}  # noqa: RUF012

        def predict(self, frame, *, working_size=None):
            seen.append(frame.shape)
            return Answer(np.zeros(frame.shape[:2], np.float32), float(len(seen) % 2))

    row = clips.flagged(Alternating(), [clip])[0]
    assert row["clip"] == "clip.mp4"
    for pass_ in ("as_is", "reencoded"):
        assert row[pass_] == {"frames": 12, "median_score": 0.5, "flagged_at_5": 0.5}
    assert len(seen) == 24


def test_a_file_that_is_no_clip_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"cannot open .*a\.mp4 as a video\n  -> take it out"):
        list(clips.read(tmp_path / "a.mp4"))


def test_large_forgeries_are_whole_photographs_and_one_in_five_is_authentic(photographs, monkeypatch):
    monkeypatch.setattr(large, "LEAST", 160)
    made = large.LargeForgeries(photographs).items(10)
    truths = []
    for item in made:
        (frame, truth), (again, _) = item.load(), item.load()
        np.testing.assert_array_equal(frame, again)
        assert frame.shape[:2] == truth.shape == (160, 160)
        truths.append(bool(truth.any()))
    assert truths == [bool(index % 5) for index in range(10)]


def test_without_large_photographs_there_are_none(photographs):
    with pytest.raises(ValueError, match=r"no held-out photograph reaches 1280 px\n  -> leave --large out"):
        large.LargeForgeries(photographs)
