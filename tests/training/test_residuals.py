"""The combined first layer: which filters it has, in which order, and what its constraint keeps."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.mantranets import grown_bayar
from training.nn.residuals import CombinedConv, WholeStepsConv, constrain_bayar, in_whole_steps, srm


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


@given(seed=st.integers(0, 1000), largest=st.floats(1, 2000), scale=st.sampled_from([1.0, 1 / 128, 2.0**-20]))
def test_whole_steps_cancel_as_before_and_stay_near(seed: int, largest: float, scale: float) -> None:
    weight = scale * torch.cat([grown_bayar(seed, largest), srm() * 12])
    rounded = in_whole_steps(weight)
    assert torch.equal(rounded.half().float(), rounded)
    assert (rounded.double().sum((2, 3)) == 0).all()
    of_filter = weight.abs().sum((1, 2, 3), keepdim=True)
    assert ((rounded - weight).abs() <= (of_filter / 2**14).clamp(min=2.0**-24)).all()
    assert torch.equal(in_whole_steps(rounded), rounded)
    if scale > 2.0**-20:
        assert torch.equal(rounded[3:], weight[3:])  # SRM's are whole numbers


def test_whole_steps_stay_as_they_are_on_the_next_power_of_two() -> None:
    """Rounded up to 2048 steps, a number leaves the others theirs; so does the sum, though a step more would not."""
    weight = torch.zeros(3, 3, 5, 5)
    weight[0, 0, 0, :2] = torch.tensor([2047.6, -1023.0])
    weight[1:] = 877.0
    weight[1, :, 0, 0] += torch.tensor([6.4, 5.8, 5.7])
    weight[2, :, 0, 0] += torch.tensor([5.6, 5.6, 6.7])
    rounded = in_whole_steps(weight)
    assert rounded[0, 0, 0, :2].tolist() == [2048, -1023]
    assert rounded[1].sum() == 65_793  # and 255 times that, next to 2^24
    assert (rounded[2] % 2 == 0).all()
    assert torch.equal(in_whole_steps(rounded), rounded)
    smallest = torch.full((1, 3, 5, 5), 2.0**-24)
    assert torch.equal(in_whole_steps(smallest), smallest)
    assert not in_whole_steps(torch.zeros(1, 3, 5, 5)).any()


@given(seed=st.integers(0, 1000), level=st.sampled_from([255, 0, 127]))
def test_whole_steps_are_summed_exactly_in_any_order(seed: int, level: int) -> None:
    """Next to saturation every partial sum is as large as it gets; free filters do not cancel it."""
    generator = torch.Generator().manual_seed(seed)
    layer = WholeStepsConv(5)
    with torch.no_grad():
        layer.weight.copy_(torch.cat([grown_bayar(seed, 300.0), torch.rand(2, 3, 5, 5, generator=generator)]))
    layer.round_to_halves()
    weight = layer.weight.detach()
    frame = (torch.randint(-40, 41, (3, 9, 8), generator=generator) + level).clamp(0, 255) - 127.5
    exact = WholeStepsConv(5).double()
    exact.load_state_dict(layer.state_dict())
    with torch.no_grad():
        wanted = exact(frame.double()[None])
    assert torch.equal(layer(frame[None]).double(), wanted)
    patch = frame[:, 2:7, 2:7].flatten()
    for each, answer in zip(weight.flatten(1), wanted[0, :, 4, 4], strict=True):
        summed = torch.zeros(())
        for index in torch.randperm(75, generator=generator):
            summed = summed + each[index] * patch[index]
        assert summed.double() == answer
