"""The hierarchy as the figure counts it, and every manipulation of it."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest

from training.synthesis import imc
from training.synthesis.hierarchy import FAMILIES, LEAVES, OURS, classes
from training.synthesis.manipulations import manipulated
from training.synthesis.sample import Crop

PUBLISHED = [leaf for leaf in LEAVES if leaf.family != OURS]


def leaf(operation: str, *parameters: float) -> int:
    return next(i for i, each in enumerate(LEAVES) if (each.operation, each.parameters) == (operation, parameters))


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    """Edges, gradients and grain."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[0:96, 0:80]
    smooth = 128 + 60 * np.sin(rows / 9) + 40 * (columns > 40) - 30 * (rows > columns)
    return np.clip(smooth[..., None] + [10, 0, -15] + 4 * rng.standard_normal((96, 80, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("level", "published", "with_ours"), [
    (0, 7, 8), (1, 27, 29), (2, 49, 51), (3, 96, 98), (4, 191, 194), (5, 380, 385),
])  # fmt: skip
def test_nodes_per_level_are_the_figures(level: int, published: int, with_ours: int) -> None:
    assert len({each.node(level) for each in PUBLISHED}) == published
    numbers = classes(level)
    assert np.unique(numbers).tolist() == list(range(with_ours))
    assert (np.diff(numbers) >= 0).all()
    assert numbers[: len(PUBLISHED)].max() == published - 1


def test_leaves_keep_their_order() -> None:
    """The rows of a trained classifier are the leaves in this order: changed, every checkpoint would name others."""
    named = "\n".join(f"{each.family}/{each.operation}/{'/'.join(map(str, each.parameters))}" for each in LEAVES)
    digest = "ed37baefe9a641f0d0a2b2f1d3434a885df29ad18c7d7d5d63c16edb01b1faf5"
    assert hashlib.sha256(named.encode()).hexdigest() == digest


def test_every_manipulation_but_none_is_made_under_a_mask(monkeypatch) -> None:
    leaves = []
    monkeypatch.setattr(imc, "manipulated", lambda frame, leaf, rng: leaves.append(leaf) or frame)
    rng = np.random.default_rng(0)
    for _ in range(5000):
        imc.locally(Crop(np.zeros((8, 8, 3), np.uint8)), lambda: None, rng, 1.0)
    assert set(leaves) == set(range(len(LEAVES))) - {imc.UNTOUCHED}


def test_every_level_refines_the_one_above() -> None:
    for level in range(5):
        above, below = classes(level), classes(level + 1)
        assert len(set(zip(above.tolist(), below.tolist(), strict=True))) == len(set(below.tolist()))


def test_leaves_per_family_are_the_figures() -> None:
    counts = {family: sum(map(len, operations.values())) for family, operations in FAMILIES.items()}
    assert list(counts.values()) == [52, 80, 96, 64, 64, 9, 15, 5]


def test_parameters_of_an_operation_are_distinct_and_of_its_family() -> None:
    for family, operations in FAMILIES.items():
        for operation, parameters in operations.items():
            assert len(set(parameters)) == len(parameters), operation
        if family in {"blur", "resampling", "morphology", "noise"}:
            full = {tuple(sorted(values)) for values in operations.values() if len(values) == 16}
            assert len(full) == 1, family
    pairs = FAMILIES["compression"]["double JPEG"]
    assert set(pairs) == {(a, b) for a in (36, 44, 53, 61, 70, 78, 87, 95) for b in (40, 48, 57, 65, 74, 82, 91, 100)}


def test_a_level_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match=r"level is 6\n  -> use 0 \(families\) to 5"):
        classes(6)


@pytest.fixture(scope="module")
def all_of_them(frame: np.ndarray) -> list[np.ndarray]:
    return [manipulated(frame, index, np.random.default_rng(0)) for index in range(len(LEAVES))]


def test_each_keeps_size_and_type_and_leaves_its_input_alone(frame: np.ndarray, all_of_them: list[np.ndarray]) -> None:
    assert {(each.shape, each.dtype.name) for each in all_of_them} == {(frame.shape, "uint8")}
    assert not [index for index, each in enumerate(all_of_them) if np.shares_memory(each, frame)]


def test_no_two_are_the_same_and_only_none_changes_nothing(frame: np.ndarray, all_of_them: list[np.ndarray]) -> None:
    assert len({each.tobytes() for each in all_of_them}) == len(LEAVES)
    assert [index for index, each in enumerate(all_of_them) if np.array_equal(each, frame)] == [leaf("none")]


def test_only_noise_is_drawn(frame: np.ndarray, all_of_them: list[np.ndarray]) -> None:
    for index, each in enumerate(LEAVES):
        if each.place == 0:
            other = manipulated(frame, index, np.random.default_rng(1))
            assert np.array_equal(other, all_of_them[index]) == (each.family != "noise"), each


@pytest.mark.parametrize("operation", ["box blur", "Gaussian blur", "median blur", "wavelet blur"])
def test_more_blur_leaves_less_detail(frame: np.ndarray, all_of_them: list[np.ndarray], operation: str) -> None:
    strengths = sorted(FAMILIES["blur"][operation])
    kept = [cv2.Laplacian(all_of_them[leaf(operation, side)], cv2.CV_64F).std() for side in strengths]
    assert kept[0] > kept[-1]
    assert max(kept) < cv2.Laplacian(frame, cv2.CV_64F).std()


@pytest.mark.parametrize(("operation", "deviation"), [
    ("Gaussian noise", lambda s: s), ("Poisson noise", np.sqrt), ("uniform noise", lambda m: m / np.sqrt(3)),
])  # fmt: skip
def test_noise_is_as_strong_as_it_says(operation: str, deviation: object) -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    for strength in FAMILIES["noise"][operation]:
        added = manipulated(grey, leaf(operation, strength), np.random.default_rng(0)).astype(float) - 128
        assert added.std() == pytest.approx(deviation(strength), rel=0.03)
        assert added.mean() == pytest.approx(0, abs=0.3)
        assert abs(np.corrcoef(added[..., 0].ravel(), added[..., 1].ravel())[0, 1]) < 0.03


def test_impulses_hit_as_many_percent_black_and_white_alike() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    for percent in FAMILIES["noise"]["impulse noise"]:
        noisy = manipulated(grey, leaf("impulse noise", percent), np.random.default_rng(0))
        assert (noisy != 128).any(2).mean() == pytest.approx(percent / 100, abs=0.01)
        assert (noisy == 255).all(2).mean() == pytest.approx((noisy == 0).all(2).mean(), abs=0.01)


def test_morphology_orders_the_frame(frame: np.ndarray, all_of_them: list[np.ndarray]) -> None:
    for side in FAMILIES["morphology"]["erode"]:
        erode, opened, closed, dilate = (all_of_them[leaf(op, side)] for op in ("erode", "open", "close", "dilate"))
        if side % 2:  # even kernels have no middle, which shifts openings by half a pixel
            assert (opened <= frame).all() and (frame <= closed).all()
        assert (erode <= frame).all() and (frame <= dilate).all()


def test_palettes_have_their_colours(all_of_them: list[np.ndarray]) -> None:
    for colours in FAMILIES["quantisation"]["quantisation"]:
        assert len(np.unique(all_of_them[leaf("quantisation", colours)].reshape(-1, 3), axis=0)) <= colours
    assert set(np.unique(all_of_them[leaf("dithering")])) <= {0, 51, 102, 153, 204, 255}


def test_equalisation_touches_the_channels_of_its_bits(frame: np.ndarray, all_of_them: list[np.ndarray]) -> None:
    for bits in range(1, 8):
        changed = (all_of_them[leaf("histogram equalisation", bits)] != frame).any((0, 1))
        assert changed.tolist() == [bool(bits & 4), bool(bits & 2), bool(bits & 1)]


def test_contrast_spreads_over_all_levels(all_of_them: list[np.ndarray]) -> None:
    for cutoff in FAMILIES["contrast"]["automatic contrast"]:
        spread = all_of_them[leaf("automatic contrast", cutoff)]
        assert (spread.min(), spread.max()) == (0, 255)


def test_frames_below_a_kernel_are_manipulated_too() -> None:
    small = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    for index in range(len(LEAVES)):
        assert manipulated(small, index, np.random.default_rng(0)).shape == small.shape
