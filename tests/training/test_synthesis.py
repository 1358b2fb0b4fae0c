"""Samples: deterministic, true to their masks, and honest about authentic frames."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import Photographs
from training.synthesis import KINDS, synthesize
from training.synthesis.blend import feather, paste, poisson
from training.synthesis.compression import jpeg
from training.synthesis.journey import Journey, drawn
from training.synthesis.life import life
from training.synthesis.preview import contact_sheet
from training.synthesis.sample import Crop, Sample
from training.synthesis.shapes import AREA, object_region, region

SIDE = 96


@pytest.fixture(scope="module")
def source(photographs):
    return Photographs(photographs, "train")


def crops(source, seed):
    rng = np.random.default_rng(seed)
    return source.crop(rng, SIDE), lambda: source.crop(rng, SIDE), rng


@pytest.mark.parametrize("hardness", [0.0, 0.5, 1.0])
def test_seed_and_index_give_the_same_sample(photographs, hardness):
    first, second = (
        [synthesize(Photographs(photographs, "train"), seed=3, index=i, size=64, hardness=hardness) for i in order]
        for order in (range(12), reversed(range(12)))
    )
    for a, b in zip(first, reversed(second), strict=True):
        assert a.recipe == b.recipe
        np.testing.assert_array_equal(a.frame, b.frame)
        np.testing.assert_array_equal(a.mask, b.mask)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**63), index=st.integers(0, 2**63), size=st.integers(64, 160), hardness=st.floats(0, 1),
    video=st.booleans(),
)  # fmt: skip
def test_any_seed_index_and_size_make_a_sample(source, seed, index, size, hardness, video):
    sample = synthesize(source, seed=seed, index=index, size=size, hardness=hardness, video=video)
    assert sample.frame.shape == (size, size, 3)
    assert sample.mask.shape == (size, size)
    assert sample.label == (sample.recipe["kind"] != "authentic")
    assert video or "h264" not in str(sample.recipe)


@pytest.mark.parametrize("size", [512, 1024])
def test_large_samples_are_made_too(source, size):
    for index in range(2):
        assert synthesize(source, seed=4, index=index, size=size).frame.shape == (size, size, 3)


def test_other_seeds_and_indices_give_other_samples(source):
    frames = {synthesize(source, seed=s, index=i, size=64).frame.tobytes() for s in range(3) for i in range(5)}
    assert len(frames) == 15


def test_samples_are_complete(source):
    samples = [synthesize(source, seed=1, index=index, size=64) for index in range(120)]
    kinds = {str(sample.recipe["kind"]) for sample in samples}
    assert kinds == {"authentic", *KINDS}
    for sample in samples:
        assert sample.frame.shape == (64, 64, 3)
        assert sample.frame.dtype == np.uint8
        assert sample.mask.shape == (64, 64)
        assert sample.label == (sample.recipe["kind"] != "authentic")
        json.dumps(sample.recipe)
    assert 0.1 < np.mean([sample.label == 0 for sample in samples]) < 0.4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hardness", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_only_pixels_under_the_mask_change(source, kind, hardness, seed):
    base, draw, rng = crops(source, seed)
    untouched = base.frame.copy()
    sample = KINDS[kind](base, draw, rng, hardness)
    changed = (sample.frame != untouched).any(-1)
    assert not (changed & ~sample.mask).any()
    assert changed.any()
    assert changed[sample.mask].mean() > 0.25
    assert 0.005 <= sample.mask.mean() <= AREA[1]
    np.testing.assert_array_equal(base.frame, untouched)


def test_an_authentic_frame_without_a_life_is_the_photograph(source):
    rng = np.random.default_rng(0)
    frame = source.crop(rng, SIDE).frame
    journey = Journey(made=SIDE, sent=SIDE, size=SIDE, route="kept")
    lived = life(Sample(frame, np.zeros((SIDE, SIDE), np.bool_)), journey, Never(rng), hardness=1.0)
    np.testing.assert_array_equal(lived.frame, frame)
    assert lived.label == 0


class Never:
    """A generator in which nothing that has a probability happens."""

    def __init__(self, rng):
        self.rng = rng

    def random(self):
        return 1.0

    def __getattr__(self, name):
        return getattr(self.rng, name)


def test_life_draws_alike_for_authentic_and_manipulated(source):
    frame = source.crop(np.random.default_rng(0), SIDE).frame
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[20:50, 30:60] = True
    for seed in range(40):
        journey = drawn(64, np.random.default_rng(seed), 1.0)
        lives = [life(Sample(frame, m), journey, np.random.default_rng(seed), hardness=1.0) for m in (mask, ~mask)]
        assert lives[0].recipe == lives[1].recipe
        np.testing.assert_array_equal(lives[0].frame, lives[1].frame)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([64, 97, 128]))
def test_regions_have_legal_areas(seed, size):
    mask, _ = region(size, np.random.default_rng(seed))
    assert mask.shape == (size, size)
    assert AREA[0] <= mask.mean() <= AREA[1]


def test_objects_come_from_the_label_map(rng):
    labels = np.zeros((64, 64), np.uint8)
    labels[10:30, 10:30] = 7
    labels[0, 0] = 9  # too small to be used
    found = object_region(labels, rng)
    np.testing.assert_array_equal(found, (labels == 7) | (found & (labels == 9)))
    assert object_region(np.zeros((64, 64), np.uint8), rng) is None
    assert object_region(np.ones((64, 64), np.uint8), rng) is None


def test_feathering_rises_inwards_and_stays_inside():
    mask = np.zeros((40, 40), np.bool_)
    mask[10:30, 10:30] = True
    opacity = feather(mask, width=4)
    assert (opacity[~mask] == 0).all()
    assert opacity[20, 20] == 1
    assert (np.diff(opacity[20, 10:20]) >= 0).all()


def test_poisson_has_no_solution_at_the_border(rng):
    frame = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    mask = np.zeros((40, 40), np.bool_)
    mask[:, :10] = True
    assert poisson(frame, frame, mask) is None
    pasted, edge = paste(frame, 255 - frame, mask, rng)
    assert edge in {"hard", "feathered", "transparent"}
    np.testing.assert_array_equal(pasted[~mask], frame[~mask])


@pytest.mark.parametrize("offset", [(0, 0), (3, 0), (5, 7)])
def test_jpeg_keeps_the_place_and_moves_the_grid(source, offset):
    frame = source.crop(np.random.default_rng(1), 64).frame
    coded = jpeg(frame, 30, offset=offset, subsample=False)
    assert coded.shape == frame.shape
    assert np.abs(coded.astype(int) - frame).mean() < 12
    steps = np.abs(np.diff(coded.astype(int), axis=1)).sum((0, 2))  # at column k: between k and k + 1
    border = [steps[k::8].mean() for k in range(8)]
    assert int(np.argmax(border)) == (7 - offset[1]) % 8


def test_labels_follow_the_crop(photographs):
    source = Photographs(photographs, "train")
    index = next(i for i, row in enumerate(source.rows) if row.mask)
    source.cumulative = np.where(np.arange(len(source.rows)) < index, 0.0, 1.0)
    crop = source.crop(np.random.default_rng(2), SIDE)
    assert crop.labels.shape == (SIDE, SIDE)
    assert set(np.unique(crop.labels)) <= {0, 3}


def test_a_contact_sheet_shows_frame_mask_and_overlay(source):
    samples = [synthesize(source, seed=1, index=index, size=48) for index in range(6)]
    sheet = contact_sheet(samples)
    assert sheet.shape == (2 * 48, 4 * 3 * 48, 3)
    assert isinstance(samples[0], Sample)
    assert isinstance(source.crop(np.random.default_rng(0), 32), Crop)
