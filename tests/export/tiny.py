"""Detectors that are compiled in seconds: two convolutions, with all that is around a network, and a ManTra-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.freeze import freeze
from training import models
from training.nn.detector import Detector


class TinyNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 1, 3, padding=1)

    def local(self, x: Tensor) -> list[Tensor]:
        return [torch.relu(self.first(x))]

    def rest(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        (x,) = maps
        level = x.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(level), level], dim=1), [x]

    def locate(self, features: list[Tensor]) -> list[Tensor]:
        return [self.second(features[0])]


def detector() -> Detector:
    """Weights that are fp16 values, as those of a frozen detector are."""
    torch.manual_seed(3)
    made = Detector(TinyNet(), {}, citation="none").eval().requires_grad_(requires_grad=False)
    for parameter in made.net.parameters():
        parameter.copy_(parameter.half().float())
    made.calibration.copy_(torch.tensor([2.0, -0.5]))
    return made


def mantranet() -> Detector:
    """ManTra-Net with the narrowest body and fresh weights, as an artifact holds it."""
    torch.manual_seed(3)
    return freeze(models.create("mantranet-lite", channels=4))
