"""GSR-Net's equations against NumPy, pixel by pixel, and what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from training import gsrnet_losses as losses

SIDE = 9


def frames(seed: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 255 * torch.rand(count, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)


def region() -> torch.Tensor:
    """One region inside, one that touches the border."""
    mask = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.float64)
    mask[0, 0, 2:7, 3:8] = 1
    mask[1, 0, :4, :2] = 1
    return mask


def pixels(mask: torch.Tensor) -> list[tuple[int, int, int]]:
    return [(n, int(y), int(x)) for n in range(len(mask)) for y, x in mask[n, 0].nonzero()]


def mean_over(mask: torch.Tensor, difference: np.ndarray) -> float:
    """Mean over the listed pixels of the mean absolute difference of the colours there."""
    return float(np.mean([np.abs(difference[n, :, y, x]).mean() for n, y, x in pixels(mask)]))


def naive_laplacian(x: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    around = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    return (around - 4 * x) / 4


def naive_edge(mask: np.ndarray) -> np.ndarray:
    """1 where the 5x5 px around a pixel, those inside the frame, hold both kinds."""
    edge = np.zeros_like(mask)
    for y in range(SIDE):
        for x in range(SIDE):
            around = mask[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
            edge[y, x] = around.max() != around.min()
    return edge


def test_edges_are_where_dilation_and_erosion_differ() -> None:
    found = losses.edge_of(region())
    for n in range(2):
        np.testing.assert_array_equal(found[n, 0].numpy(), naive_edge(region()[n, 0].numpy()))
    assert losses.edge_of(torch.ones(1, 1, 4, 4)).sum() == 0


def test_equations_3_to_5_are_means_over_their_own_pixels() -> None:
    made, source, target, mask = frames(1), frames(2), frames(3), region()
    arrays = [x.numpy() for x in (made, source, target)]
    assert losses.background(made, target, mask).item() == pytest.approx(mean_over(1 - mask, arrays[0] - arrays[2]))
    shapes = naive_laplacian(arrays[0]) - naive_laplacian(arrays[1])
    assert losses.gradient(made, source, mask).item() == pytest.approx(mean_over(mask, shapes))
    edge = losses.edge_of(mask)
    assert losses.edge(made, source, mask).item() == pytest.approx(mean_over(edge, arrays[0] - arrays[1]))


def test_a_frame_without_a_region_has_a_background_alone() -> None:
    made, other, none = frames(1), frames(2), torch.zeros(2, 1, SIDE, SIDE, dtype=torch.float64)
    assert losses.gradient(made, other, none) == losses.edge(made, other, none) == 0
    assert losses.background(made, other, none).item() == pytest.approx((made - other).abs().mean().item())


@given(shift=st.floats(-50, 50))
def test_the_gradient_does_not_mind_another_tone(shift: float) -> None:
    """Inside the region; at the frame's border the zeros around it do."""
    mask = region()[:1]
    assert losses.gradient(frames(1, 1) + shift, frames(1, 1), mask).item() == pytest.approx(0, abs=1e-9)


def test_equation_6_is_the_cross_entropy_of_both_kinds() -> None:
    real, fake = torch.tensor([0.3, 2.0]), torch.tensor([-1.0, 0.5])
    expected = -np.log(1 / (1 + np.exp(-real.numpy()))).mean() - np.log(1 - 1 / (1 + np.exp(-fake.numpy()))).mean()
    assert losses.discrimination(real, fake).item() == pytest.approx(expected, rel=1e-5)
    assert losses.deceit(fake).item() == pytest.approx(-np.log(1 / (1 + np.exp(-fake.numpy()))).mean(), rel=1e-5)
    assert losses.deceit(torch.zeros(3)).item() == pytest.approx(math.log(2))


def test_equation_7_has_the_weights_of_the_paper() -> None:
    made, source, target, mask, judged = frames(1), frames(2), frames(3), region(), torch.tensor([0.7])
    terms = losses.generation(made, source, target, mask, judged=judged, weights=losses.Weights())
    expected = (
        losses.background(made, target, mask)
        + 1 * losses.gradient(made, source, mask)
        + 2 * losses.edge(made, source, mask)
        + 5 * losses.deceit(judged)
    )
    assert sum(terms.values()).item() == pytest.approx(expected.item())
    other = losses.generation(made, source, target, mask, judged=judged, weights=losses.Weights(deceit=1, edge=0))
    assert other["deceit"].item() == pytest.approx(terms["deceit"].item() / 5)
    assert other["edge"] == 0


def test_equations_1_8_and_9_choose_pixels() -> None:
    source, target, mask = frames(2), frames(3), region()
    pasted = losses.copied(source, target, mask)
    torch.testing.assert_close(pasted, mask * source + (1 - mask) * target)
    boundary = (torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(5)) > 0.5).double()
    again, left = losses.refined(target, pasted, mask, boundary)
    torch.testing.assert_close(again, target * boundary + pasted * (1 - boundary))
    torch.testing.assert_close(left, mask - mask * boundary)
    torch.testing.assert_close(again, losses.copied(source, target, left))  # nothing but the region left is foreign


def test_the_boundary_is_weighted_cross_entropy() -> None:
    logits = torch.randn(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    truth = losses.edge_of(region().float())
    plain = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    expected = (0.7 * plain[truth > 0].sum() + 0.3 * plain[truth == 0].sum()) / truth.numel()
    torch.testing.assert_close(losses.boundary(logits, region().float()), expected)
