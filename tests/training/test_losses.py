"""Losses against hand-computed cases."""

from __future__ import annotations

import math

import pytest
import torch

from training.losses import balanced_bce, detection, psccnet, shrink_mask, two_class

LN2 = math.log(2)


def test_balanced_bce_weighs_both_classes_half():
    target = torch.zeros(1, 2, 2)
    target[0, 0, 0] = 1  # a quarter is manipulated
    logits = torch.full((1, 2, 2), math.log(3.0))  # probability 3/4 everywhere
    expected = 0.5 * -math.log(0.75) + 0.5 * -math.log(0.25)
    assert balanced_bce(logits, target).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_is_plain_bce(value):
    logits = torch.full((1, 3, 3), math.log(3.0))
    expected = -math.log(0.75 if value else 0.25)
    assert balanced_bce(logits, torch.full((1, 3, 3), value)).item() == pytest.approx(expected, rel=1e-6)


def test_images_weigh_alike_whatever_their_region():
    small, large = torch.zeros(4, 4), torch.zeros(4, 4)
    small[0, 0], large[:2] = 1, 1
    logits = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0))
    together = balanced_bce(logits, torch.stack([small, large]))
    apart = [balanced_bce(logits[i : i + 1], mask[None]) for i, mask in enumerate((small, large))]
    torch.testing.assert_close(together, (apart[0] + apart[1]) / 2)


def test_detection_is_the_cross_entropy_of_a_margin():
    margin = torch.tensor([math.log(3.0), math.log(3.0)])  # probability of "manipulated" 3/4
    found = detection(margin, torch.tensor([True, False])).item()
    assert found == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2, rel=1e-6)


def test_two_class_weighs_authentic_three_times():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)]])  # probability of "manipulated" 3/4
    expected = (4 * -math.log(0.25) + 4 / 3 * -math.log(0.75)) / (4 + 4 / 3)
    assert two_class(logits, torch.tensor([0, 1])).item() == pytest.approx(expected, rel=1e-6)


def test_a_cell_is_manipulated_when_more_than_half_of_it_is():
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 0, :2] = mask[0, 1, 0] = True  # three of four pixels of the first cell
    mask[0, 0, 2:] = True  # two of four of the second
    assert shrink_mask(mask, 2)[0].tolist() == [[1, 0], [0, 0]]


def test_a_tiny_region_is_not_lost():
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[0, 5, 6] = True
    small = shrink_mask(mask, 2)
    assert small[0].tolist() == [[0, 0], [0, 1]]
    assert small[1].sum() == 0


def test_a_finer_grid_than_the_mask_repeats_it():
    mask = torch.eye(4, dtype=torch.bool)[None]
    assert torch.equal(shrink_mask(mask, 8)[0].bool(), mask[0].repeat_interleave(2, 0).repeat_interleave(2, 1))


def test_psccnet_sums_the_scales():
    truth = torch.zeros(2, 16, 16, dtype=torch.bool)
    truth[0, :8] = True
    masks = [torch.zeros(2, grid, grid, requires_grad=True) for grid in (16, 8, 4, 2)]
    score = torch.zeros(2, 2)
    localisation, detection = psccnet(masks, score, truth)
    assert localisation.item() == pytest.approx(4 * LN2)
    assert detection.item() == pytest.approx(LN2)
    localisation.backward()
    assert all(mask.grad.abs().sum() > 0 for mask in masks)
