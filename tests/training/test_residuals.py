"""The combined first layer: which filters it has, in which order, and what its constraint keeps."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.nn.residuals import CombinedConv, constrain_bayar, srm


def test_srm_filters_are_zero_sum_one_colour_each_and_kernel_major() -> None:
    filters = srm()
    assert filters.shape == (9, 3, 5, 5)
    torch.testing.assert_close(filters.sum((2, 3)), torch.zeros(9, 3), atol=1e-6, rtol=0)
    for index, each in enumerate(filters):
        assert [bool(plane.any()) for plane in each] == [colour == index % 3 for colour in range(3)]
        torch.testing.assert_close(each[index % 3], filters[index // 3 * 3][0])
    assert [filters[3 * kernel, 0, 2, 2].item() for kernel in range(3)] == [-1, -1, -1]
    assert [int(filters[3 * kernel, 0].count_nonzero()) for kernel in range(3)] == [9, 25, 3]
    assert filters[6, 0, 2].tolist() == [0, 0.5, -1, 0.5, 0]


def test_srm_filters_are_symmetric() -> None:
    for plane in srm()[[0, 3], [0, 0]]:
        torch.testing.assert_close(plane, plane.T)
        torch.testing.assert_close(plane, plane.flip(0))
    torch.testing.assert_close(srm()[3, 0, :2, :3] * 12, torch.tensor([[-1.0, 2, -2], [2, -6, 8]]))


@given(seed=st.integers(0, 1000))
def test_bayar_filters_predict_the_middle_from_a_sum_of_one(seed: int) -> None:
    weight = torch.rand(3, 3, 5, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    given_ratio = weight[0, 0, 0, 0] / weight[0, 0, 4, 4]
    constrain_bayar(weight)
    assert (weight[:, :, 2, 2] == -1).all()
    torch.testing.assert_close(weight.sum((2, 3)), torch.zeros(3, 3, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(weight[0, 0, 0, 0] / weight[0, 0, 4, 4], given_ratio)
    again = weight.clone()
    constrain_bayar(again)
    torch.testing.assert_close(again, weight, atol=1e-6, rtol=0)


def test_all_filters_in_their_order(rng: np.random.Generator) -> None:
    layer = CombinedConv(4)
    x = torch.from_numpy(rng.standard_normal((1, 3, 6, 7)).astype(np.float32))
    y = layer(x)
    padded = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="symmetric"))
    assert y.shape == (1, 16, 6, 7)
    for part, filters in ((slice(0, 4), layer.free), (slice(4, 13), srm()), (slice(13, 16), layer.bayar)):
        torch.testing.assert_close(y[:, part], torch.nn.functional.conv2d(padded, filters))
    assert sum(parameter.numel() for parameter in layer.parameters()) == 525
    assert "srm" not in layer.state_dict()


def test_flat_surfaces_leave_nothing_behind_the_high_pass_filters() -> None:
    y = CombinedConv(4)(torch.full((1, 3, 8, 8), 0.7))
    torch.testing.assert_close(y[:, 4:], torch.zeros_like(y[:, 4:]), atol=1e-5, rtol=0)
