"""What happens to pictures on their way: routes, sides, video, and the shrinking that comes last."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.area_shrink.reference import area_shrink
from training.errors import CodecMissing
from training.synthesis.compression import random_jpeg
from training.synthesis.journey import LARGEST_SHRINK, LARGEST_SIDE, PLATFORMS, ROUTES, Journey, drawn
from training.synthesis.life import LOWEST_QUALITY, fitted, history, life, shrunk
from training.synthesis.sample import Crop, Sample
from training.synthesis.video import h264


def smooth(rng, height, width):
    coarse = rng.uniform(30, 220, (6, 6, 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


@given(seed=st.integers(0, 2**32), size=st.integers(64, 1024), hardness=st.floats(0, 1))
def test_journeys_stay_within_what_photographs_have(seed, size, hardness):
    journey = drawn(size, np.random.default_rng(seed), hardness)
    assert size <= journey.sent <= max(size, LARGEST_SIDE)
    assert 0.6 * size <= journey.made <= max(LARGEST_SIDE, journey.sent)
    assert journey.made <= round(LARGEST_SHRINK * size)
    sides = [journey.made, *(side for _, side in journey.hops)]
    assert sides == sorted(sides, reverse=True)
    if journey.hops:
        assert sides[-1] == journey.sent


def test_every_route_is_taken_and_large_pictures_come_often_enough():
    journeys = [drawn(256, np.random.default_rng(seed), 1.0) for seed in range(2000)]
    for route, share in ROUTES.items():
        assert np.mean([journey.route == route for journey in journeys]) == pytest.approx(share, abs=0.04)
    assert np.mean([journey.sent > journey.size for journey in journeys]) == pytest.approx(0.22, abs=0.04)
    assert max(journey.sent for journey in journeys) > 3.8 * 256
    assert {name for journey in journeys for name, _ in journey.hops} == set(PLATFORMS)


def test_without_video_no_journey_needs_a_video_codec():
    routes = {drawn(64, np.random.default_rng(seed), 1.0, video=False).route for seed in range(300)}
    assert routes == set(ROUTES) - {"video"}


@pytest.mark.parametrize("side", [40, 63, 97])
def test_the_last_shrinking_is_the_products(rng, side):
    frame = rng.integers(0, 256, (160, 160, 3), dtype=np.uint8)
    expected = area_shrink(frame[None], side)[0]
    assert np.abs(shrunk(frame, side) - expected).max() <= 0.5 + 1e-2  # rounded, from float32 sums


def test_nothing_happens_after_the_shrinking(rng):
    journey = Journey(made=200, sent=200, size=50, route="saved")
    frame = smooth(rng, 200, 200)
    lived = life(Sample(frame, np.zeros((200, 200), np.bool_)), journey, rng, hardness=1.0)
    assert lived.recipe["life"][-1] == "shrink 200"
    assert lived.frame.shape == (50, 50, 3)


def test_no_finished_picture_was_saved_below_the_lowest_quality(monkeypatch):
    qualities = []

    def noted(frame, quality, **_):
        qualities.append(quality)
        return frame

    for module in (life, random_jpeg):  # one coded in the module, one through compression's own
        monkeypatch.setattr(sys.modules[module.__module__], "jpeg", noted)
    frame = np.zeros((64, 64, 3), np.uint8)
    for seed in range(1500):
        rng = np.random.default_rng(seed)
        crop = history(Crop(frame), rng, 1.0)
        life(Sample(crop.frame, np.zeros((64, 64), np.bool_)), drawn(64, rng, 1.0, video=False), rng, hardness=1.0)
    assert min(qualities) == LOWEST_QUALITY


@given(seed=st.integers(0, 2**32), side=st.integers(8, 90))
def test_a_region_never_vanishes_when_it_is_resized(seed, side):
    rng = np.random.default_rng(seed)
    mask = np.zeros((60, 60), np.bool_)
    row, column = rng.integers(0, 58, 2)
    mask[row : row + 2, column : column + 30] = True
    resized = fitted(mask, side)
    assert resized.shape == (side, side)
    assert resized.any()
    assert not fitted(np.zeros_like(mask), side).any()


def test_a_whole_region_keeps_its_place_when_it_shrinks():
    mask = np.zeros((60, 60), np.bool_)
    mask[12:30, 24:48] = True
    np.testing.assert_array_equal(np.argwhere(fitted(mask, 10)), np.argwhere(mask[::6, ::6]))


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("intra", [False, True])
def test_video_keeps_the_picture_and_costs_detail_by_its_rate(rng, full_range, intra):
    frame = smooth(rng, 65, 50)  # one side is odd: 4:2:0 needs pairs
    fine, coarse = (h264(frame, crf=crf, full_range=full_range, pan=(1, 2), intra=intra) for crf in (10, 40))
    assert fine.shape == frame.shape
    error = [np.abs(coded.astype(int) - frame).mean() for coded in (fine, coarse)]
    assert error[0] < 4
    assert error[0] < error[1] < 20
    again = h264(frame, crf=10, full_range=full_range, pan=(1, 2), intra=intra)
    np.testing.assert_array_equal(fine, again)


def test_the_ranges_of_video_differ(rng):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    levels = [len(np.unique(h264(ramp, crf=0, full_range=full, pan=(0, 0), intra=True))) for full in (False, True)]
    assert levels[0] < 225 < levels[1]  # limited range has 220 levels of luma, full range 256


def test_a_machine_without_the_codec_is_told_so(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CodecMissing, match=r"need PyAV, which is not installed\n  -> pip install .*--without-video"):
        h264(smooth(rng, 16, 16), crf=20, full_range=False, pan=(0, 0))


def test_photographs_have_a_history_whatever_becomes_of_them(rng):
    crop = Crop(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), None, "a.jpg")
    changed = [(history(crop, rng, 1.0).frame != crop.frame).any() for _ in range(600)]
    assert np.mean(changed) == pytest.approx(0.65, abs=0.06)  # 1 - 0.7 * 0.5
