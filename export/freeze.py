"""What happens to a trained detector's weights on their way into an artifact."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export import parity
from training import models
from training.nn.detector import Detector
from training.nn.folding import fold

FRESH_SEED = 1
"""Of PSCC-Net's fresh weights some bring its unscaled softmaxes near ties, where f32 itself is off by the budget of
parity; with these it is off by a tenth of that."""
FRESH_SIZE = (128, 128)


@runtime_checkable
class Simplifiable(Protocol):
    """A network that knows a shorter way to the same answers."""

    def simplified(self) -> nn.Module:
        """A copy for inference."""


@runtime_checkable
class Rounding(Protocol):
    """A layer that knows better than number by number how its weights are to become fp16 values."""

    def round_to_halves(self) -> None:
        """In place."""


def freeze(detector: Detector) -> Detector:
    """A copy for inference: batch normalisation folded into convolutions, parameters rounded to fp16 values.

    Parameters stay float32 tensors, so this is the torch side of parity: it holds exactly the numbers that the
    artifact stores in half the bytes.
    """
    frozen = copy.deepcopy(detector).eval()
    if isinstance(frozen.net, Simplifiable):
        frozen.net = frozen.net.simplified()
    frozen.requires_grad_(requires_grad=False)
    fold(frozen)
    for module in frozen.net.modules():
        if isinstance(module, Rounding):
            module.round_to_halves()
    for parameter in frozen.net.parameters():
        parameter.copy_(parameter.half().float())
    return frozen


def doubled(net: nn.Module) -> nn.Module:
    """A copy of ``net`` whose first convolution takes the pixels twice over, ``[N, 6, H, W]``, and adds up both halves.

    For deployment in bf16, which holds whole grey levels exactly and fractions of them to half a level: given whole
    levels and the fractions beside them, a convolution that cancels contents and keeps traces of a few levels (as
    high-pass filters do) loses nothing.
    """
    copied = copy.deepcopy(net)
    ((_, first),) = _on_pixels(copied)
    first.weight = nn.Parameter(torch.cat([first.weight, first.weight], dim=1), requires_grad=False)
    first.in_channels = 6
    return copied


class Exact(nn.Module):
    """A convolution in float32, whatever the precision around it: its answers alone are rounded."""

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv, self.dtype = conv.float(), dtype

    def forward(self, x: Tensor) -> Tensor:
        """Float32 ``[N, C, H, W]`` to what the convolution makes of it, in ``dtype``."""
        return self.conv(x).to(self.dtype)


def lowered(frozen: Detector, dtype: torch.dtype) -> Detector:
    """A copy with its network in ``dtype``, but for the first convolution, which sees the pixels in float32.

    Traces are a few grey levels. Pixels over 255 are half a level off in bf16 and a sixteenth in fp16, and weights that
    cancel contents do so no longer when they are rounded; what comes of it is most of what a lower precision changes in
    a heatmap, and one layer is little work. The score's own two numbers stay float32 as well.
    """
    copied = copy.deepcopy(frozen).to(dtype)
    copied.calibration = frozen.calibration.clone()
    ((name, first),) = _on_pixels(frozen.net)
    copied.net.set_submodule(name, Exact(copy.deepcopy(first), dtype))
    return copied


def _on_pixels(net: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    """The first convolution, which is the only one with three input channels, and its name."""
    return [(name, m) for name, m in net.named_modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3]


def fresh(model: str, photographs: Sequence[NDArray[np.uint8]]) -> Detector:
    """Untrained weights of ``model``, for measuring speed: the same whenever and wherever they are made."""
    torch.manual_seed(FRESH_SEED)
    detector = models.create(model)
    settle(detector, [torch.from_numpy(np.stack(parity.frames(photographs, [FRESH_SIZE] * len(photographs))))])
    return detector


def settle(detector: Detector, frames: Iterable[torch.Tensor]) -> None:
    """Give fresh weights the batch statistics of ``frames`` (uint8 ``[N, H, W, 3]``).

    Without them maps grow layer by layer. For weights that were never trained: to try an export, or to measure speed.
    In float64, so that what is rounded later is the same whatever the machine and the number of its threads: fresh
    weights pass small differences on, far more than trained ones do.
    """
    detector.double()
    normalisations = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [module.momentum for module in normalisations]
    for module in normalisations:
        module.momentum = None  # a cumulative average
    with torch.inference_mode():
        for frame in frames:
            detector.train()(frame)
    for module, momentum in zip(normalisations, momenta, strict=True):
        module.momentum = momentum
    detector.float().eval()
