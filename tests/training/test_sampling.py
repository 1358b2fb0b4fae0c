"""Sampling by integer coordinates equals resizing with aligned corners."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from training.nn.hrnet import HighResolutionModule
from training.nn.sampling import lerp, pick, pick_resized


def resized(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


sides = st.integers(1, 40)


@given(height=sides, width=sides, grid=st.integers(2, 24))
def test_pick_and_lerp_equal_resizing(height: int, width: int, grid: int) -> None:
    x = torch.rand(1, 2, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sampled = lerp(pick(x, grid), (height, width), grid)
    torch.testing.assert_close(sampled, resized(x, (grid, grid)), atol=1e-6, rtol=0)


@given(height=sides, width=sides, grid=st.integers(2, 24))
def test_pick_resized_equals_picking_from_the_resized_map(height: int, width: int, grid: int) -> None:
    x = torch.rand(1, 2, -(-height // 2), -(-width // 2), generator=torch.Generator().manual_seed(0))
    expected = pick(resized(x, (height, width)), grid)
    torch.testing.assert_close(pick_resized(x, (height, width), grid), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("size", [(32, 32), (33, 57), (200, 96)])
def test_sampled_exchange_equals_full_exchange(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = HighResolutionModule(4).eval()
    shapes = [size]
    for _ in range(3):
        shapes.append(tuple(-(-side // 2) for side in shapes[-1]))
    xs = [torch.randn(1, width, *shape) for width, shape in zip((18, 36, 72, 144), shapes, strict=True)]
    grids = [32, 16, 8, 4]
    with torch.inference_mode():
        full = module(list(xs))
        for actual, y, grid in zip(module.sampled(list(xs), grids), full, grids, strict=True):
            torch.testing.assert_close(actual, resized(y, (grid, grid)), atol=2e-5, rtol=1e-5)
