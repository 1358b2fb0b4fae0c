"""The extractor of traces: its layers, its receptive field, its unit length."""

from __future__ import annotations

import pytest
import torch

from training.nn.vgg import BODIES, Extractor


@pytest.mark.parametrize(("body", "free", "count"), [("released", 4, 3_675_181), ("table5", 4, 2_151_741)])
def test_parameter_counts(body: str, free: int, count: int) -> None:
    extractor = Extractor(body, free, bounded=False)
    assert sum(parameter.numel() for parameter in extractor.parameters()) == count


def test_released_layers_have_the_published_counts() -> None:
    extractor = Extractor("released", 4, bounded=False)
    layers = [extractor.first, *extractor.body, extractor.last]
    assert [sum(parameter.numel() for parameter in layer.parameters()) for layer in layers] == [
        525, 4_640, 18_496, 36_928, 73_856, 147_584, 147_584, 295_168, *[590_080] * 5,
    ]  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_a_pixel_sees_29_by_29_pixels(body: str) -> None:
    torch.manual_seed(0)
    extractor = Extractor(body, 4, bounded=False).double()
    assert extractor.halo == 14
    x = torch.rand(1, 3, 35, 33, dtype=torch.float64, requires_grad=True)
    extractor.raw(x)[0, :, 17, 16].square().sum().backward()
    seen = x.grad[0].abs().amax(0) > 0
    assert torch.nonzero(seen).amin(0).tolist() == [3, 2]
    assert torch.nonzero(seen).amax(0).tolist() == [31, 30]


@pytest.mark.parametrize(("halvings", "halo", "size"), [(1, 24, (17, 14)), (2, 40, (9, 7)), (3, 64, (5, 4))])
def test_halvings_leave_every_second_fourth_or_eighth_pixel_which_sees_more(
    halvings: int, halo: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    extractor = Extractor("lite", 4, bounded=False, halvings=halvings).double()
    assert (extractor.halo, extractor.stride) == (halo, 2**halvings)
    with torch.inference_mode():
        assert extractor.raw(torch.rand(1, 3, 33, 27, dtype=torch.float64)).shape == (1, 128, *size)
    x = torch.rand(1, 3, 4, 161, dtype=torch.float64, requires_grad=True)
    extractor.raw(x)[0, :, 0, 80 // extractor.stride].square().sum().backward()
    seen = torch.nonzero(x.grad.abs().amax((0, 1, 2)))
    assert 80 - int(seen.min()) == int(seen.max()) - 80
    assert halo - extractor.stride < 80 - int(seen.min()) <= halo


def test_a_normalised_extractor_answers_with_mean_0_and_variance_1() -> None:
    torch.manual_seed(0)
    extractor = Extractor("table5", 4, bounded=False, halvings=2).double()
    frames = torch.rand(3, 3, 32, 24, dtype=torch.float64)
    with torch.inference_mode():
        assert extractor.raw(frames).var() < 0.1  # what twelve layers leave of the residuals
    extractor.normalise(frames)
    layers = [extractor.residuals(frames)]
    with torch.inference_mode():
        for conv in (*extractor.body, extractor.last):
            layers.append(conv(layers[-1].relu()))
            torch.testing.assert_close(layers[-1].mean((0, 2, 3)), torch.zeros_like(conv.bias), atol=1e-9, rtol=0)
            torch.testing.assert_close(layers[-1].var((0, 2, 3), correction=0), torch.ones_like(conv.bias))
        torch.testing.assert_close(extractor.raw(frames), layers[-1])


@pytest.mark.parametrize("bounded", [False, True])
def test_traces_have_unit_length(bounded: bool) -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        traces = Extractor("table5", 4, bounded=bounded)(torch.rand(1, 3, 6, 5))
    torch.testing.assert_close(traces.square().sum(1), torch.ones(1, 6, 5))


def test_tanh_bounds_what_is_normalised() -> None:
    torch.manual_seed(0)
    free, bound = (Extractor("table5", 4, bounded=bounded) for bounded in (False, True))
    bound.load_state_dict(free.state_dict())
    x = torch.rand(1, 3, 6, 5)
    with torch.inference_mode():
        torch.testing.assert_close(bound.raw(x), torch.tanh(free.raw(x)))
