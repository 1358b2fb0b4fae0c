"""The parts that forgeries are made of: moved pieces, filled holes, paint."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.synthesis import FAINTEST, forged
from training.synthesis.exemplar import filled
from training.synthesis.removal import cloned
from training.synthesis.retouch import LEAST, MEANS, cover, mosaic, retouch
from training.synthesis.sample import Crop, Sample
from training.synthesis.shapes import AREA, SHARES, bounds, region
from training.synthesis.warp import bent, placement, shift, tilted, warped


def grain(rng, side=96):
    return rng.integers(0, 256, (side, side, 3), dtype=np.uint8)


def square(side=96):
    mask = np.zeros((side, side), np.bool_)
    mask[30:50, 40:64] = True
    return mask


def whole(piece, side=96):
    mask = np.zeros((side, side), np.bool_)
    mask[piece.where] = piece.mask
    return mask


@given(dx=st.integers(-30, 30), dy=st.integers(-25, 40))
def test_a_shift_by_whole_pixels_copies_them(dx, dy):
    frame = grain(np.random.default_rng(0))
    piece = warped(square(), frame, shift(np.array([dx, dy], float)))
    moved = np.roll(square(), (dy, dx), (0, 1))
    np.testing.assert_array_equal(whole(piece), moved)
    pasted = np.zeros_like(frame)
    pasted[piece.where][piece.mask] = piece.pixels[piece.mask]
    np.testing.assert_array_equal(pasted[moved], frame[square()])


def test_mirroring_alone_keeps_pixels_whole():
    frame = grain(np.random.default_rng(1))
    copied = 0
    for seed in range(60):
        move = placement(square(), np.random.default_rng(seed))
        if not np.array_equal(np.abs(move[:2, :2]), np.eye(2)):
            continue
        piece = warped(square(), frame, move)
        inside = {tuple(pixel) for pixel in frame[square()]}
        assert {tuple(pixel) for pixel in piece.pixels[piece.mask]} <= inside
        copied += 1
    assert copied > 5


@given(seed=st.integers(0, 2**32))
def test_pieces_lie_in_the_frame_however_they_are_deformed(seed):
    rng = np.random.default_rng(seed)
    outline, _ = region(96, rng)
    move = tilted(placement(outline, rng), outline, rng)
    piece = warped(outline, grain(rng), move, bend=bent(outline, rng))
    if piece is None:
        return
    height, width = (part.stop - part.start for part in piece.where)
    assert piece.mask.shape == (height, width)
    assert piece.pixels.shape == (height, width, 3)
    assert all(0 <= part.start < part.stop <= 96 for part in piece.where)


def test_a_region_behind_the_horizon_is_none():
    move = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 50]], float)
    assert warped(square(), grain(np.random.default_rng(0)), move) is None


def test_bounds_hold_the_region_and_stop_at_the_frame():
    assert bounds(square(), 0) == (slice(30, 50), slice(40, 64))
    assert bounds(square(), 35) == (slice(0, 85), slice(5, 96))


def test_small_regions_are_as_common_as_they_should_be():
    shares = np.array([region(96, np.random.default_rng(seed))[0].mean() for seed in range(400)])
    assert 0.3 < (shares < SHARES["small"][1]).mean() < 0.6
    assert (shares > SHARES["medium"][1]).mean() > 0.1


def test_patches_continue_a_texture(rng):
    stripes = np.where((np.arange(96) // 6 % 2)[None, :, None] > 0, 200, 60).astype(np.uint8)
    frame = np.repeat(np.repeat(stripes, 96, axis=0), 3, axis=2)
    hole = np.zeros((96, 96), np.bool_)
    hole[35:60, 35:60] = True
    broken = frame.copy()
    broken[hole] = 128
    painted = filled(broken, hole, rng)
    np.testing.assert_array_equal(painted[~hole], frame[~hole])
    assert np.abs(painted[hole].astype(int) - frame[hole]).mean() < 20  # half of the pixels wrong would be 70


def test_a_hole_without_surroundings_cannot_be_filled(rng):
    assert filled(grain(rng, 40), np.ones((40, 40), np.bool_), rng) is None


def test_a_clone_takes_what_is_there_and_nothing_else(rng):
    frame = np.repeat(np.arange(96, dtype=np.uint8)[:, None, None], 96, axis=1).repeat(3, axis=2)
    found = cloned(frame, square(), rng)
    np.testing.assert_array_equal(found[~square()], frame[~square()])
    assert (found.astype(int)[..., 0] == found[..., 1]).all()


@pytest.mark.parametrize("means", [name for name in MEANS if name != "mosaic"])
def test_paint_covers_a_part_of_the_frame(means):
    for seed in range(30):
        opacity = cover(128, means, np.random.default_rng(seed))
        assert opacity.shape == (128, 128)
        assert 0 <= opacity.min() <= opacity.max() <= 1


@given(seed=st.integers(0, 2**32), side=st.sampled_from([48, 97, 200]))
def test_retouching_has_a_legal_area_and_stays_in_its_mask(seed, side):
    rng = np.random.default_rng(seed)
    base = Crop(grain(rng, side))
    sample = retouch(base, lambda: base, rng, 1.0)
    assert LEAST <= sample.mask.mean() <= AREA[1]
    np.testing.assert_array_equal(sample.frame[~sample.mask], base.frame[~sample.mask])


def test_a_mosaic_has_few_colours(rng):
    frame = grain(rng)
    found = mosaic(frame, square(), rng)
    assert len(np.unique(found[square()], axis=0)) <= 64
    np.testing.assert_array_equal(found[~square()], frame[~square()])


def test_a_region_where_nothing_would_be_seen_is_drawn_again(rng):
    base = Crop(grain(rng))
    drawn = []

    def forge(base, draw, rng, hardness):
        drawn.append(len(drawn))
        frame = base.frame.copy()
        frame[square()] ^= 128 if len(drawn) == 2 else 0
        return Sample(frame, square())

    made = forged(forge, base, lambda: base, rng=rng, hardness=1.0)
    assert drawn == [0, 1]
    assert np.abs(made.frame[square()].astype(int) - base.frame[square()]).mean() >= FAINTEST
    forged(lambda base, *_: Sample(base.frame, square()), base, lambda: base, rng=rng, hardness=1.0)  # gives up
