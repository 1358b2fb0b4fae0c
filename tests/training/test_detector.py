"""Pixels in, probabilities out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kernels.area_shrink import reference
from training.nn.detector import Detector
from training.nn.hrnet import Trunk, local_reach


class Brightness(nn.Module):
    """A net whose answers are known: features are the mean of the channels, both heads read them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def local(self, x: Tensor) -> list[Tensor]:
        return [x.mean(1, keepdim=True) * self.weight]

    def rest(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        level = maps[0].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(level), level], 1), maps

    def locate(self, features: list[Tensor]) -> list[Tensor]:
        return features


@pytest.fixture
def detector() -> Detector:
    return Detector(Brightness(), {}, citation="none")


def test_score_is_the_calibrated_difference_of_the_logits(detector: Detector) -> None:
    detector.calibration.copy_(torch.tensor([2.0, -0.5]))
    frame = torch.full((1, 4, 4, 3), 255, dtype=torch.uint8)
    _, score = detector(frame)
    assert score.item() == pytest.approx(1 / (1 + np.exp(-(2.0 * 1.0 - 0.5))), abs=1e-6)


def test_heatmap_has_the_frames_size_at_any_working_size(detector: Detector, rng: np.random.Generator) -> None:
    frame = torch.from_numpy(rng.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8))
    for working_size in (0, 15, 30, 99):
        heatmap, _ = detector(frame, working_size)
        assert heatmap.shape == (2, 20, 30)


def test_pixels_are_shrunk_exactly(detector: Detector, rng: np.random.Generator) -> None:
    frame = rng.integers(0, 256, (1, 21, 34, 3), dtype=np.uint8)
    pixels = detector.pixels(torch.from_numpy(frame), 17).detach().numpy()
    np.testing.assert_allclose(pixels, reference.area_shrink(frame, 17), atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_local_part_is_exact_on_tiles_with_its_halo_and_on_none_smaller(stride: int) -> None:
    torch.manual_seed(0)
    trunk = Trunk(stride).eval()
    halo, align = local_reach(stride)
    x = torch.rand(1, 3, 64, 32)
    cut = 32
    with torch.inference_mode():
        whole = trunk.local(x)
        lower = trunk.local(x[:, :, cut - halo :])
        short = trunk.local(x[:, :, cut - halo + align :])
    for level, (expected, actual, less) in enumerate(zip(whole, lower, short, strict=True)):
        step = stride * 2**level
        torch.testing.assert_close(actual[:, :, halo // step :], expected[:, :, cut // step :], atol=1e-5, rtol=1e-5)
        if level == 0:
            assert not torch.allclose(less[:, :, (halo - align) // step :], expected[:, :, cut // step :], atol=1e-5)
