"""IMC-VGG: 3x3 convolutions, as published at full resolution, that turn pixels into traces of manipulation.

Source: Wu, AbdAlmageed, Natarajan, "ManTra-Net", CVPR 2019, section 3, and the authors' code, whose widths are
``released``: the paper's figure 2 agrees with them, its table 5 says something else.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.nn.padding import symmetric
from training.nn.precision import full_precision
from training.nn.residuals import SIDE, CombinedConv

BODIES = {
    "released": (32, 64, 64, 128, 128, 128, 256, 256, 256, 256, 256),
    "table5": (16, 64, 64, 96, 96, 96, 128, 128, 128, 256, 256),
    "lite": (16, 32, 32, 64, 64, 64, 128, 128, 128, 128, 128),
}
"""Channels after each 3x3 convolution with its ReLU; one more without has as many as the last. ``lite`` is ours: half
of the released widths, a quarter of the work."""
BLOCKS = (1, 3, 6)
"""Which of these convolutions begin the second, the third and the fourth block: those that halve, where something is
to."""
L2_FLOOR = 1e-12
"""Smallest square sum that features are normalised by; Keras' value."""


class SymmetricConv(nn.Conv2d):
    """A convolution with odd kernel and mirrored borders (:func:`training.nn.padding.symmetric`)."""

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inputs, H, W]`` to ``[N, outputs, H, W]``."""
        return super().forward(symmetric(x, self.kernel_size[0] // 2))


class SignedRange(nn.Module):
    """[0, 1] to [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """``2 x - 1``."""
        return 2 * x - 1


class Extractor(nn.Module):
    """Traces of manipulation, 256 per pixel (128 of ``lite``); input float ``[N, 3, H, W]`` in [0, 1], any H and W.

    Twelve convolutions of 3x3 after one of 5x5: a pixel's traces come from the 29x29 pixels around it. ``halvings`` is
    ours, and 0 in the paper: so many blocks after the first begin with a convolution at stride 2, traces are those of
    every ``stride``-th row and column, and come from as many more pixels.
    """

    def __init__(self, body: str, free: int, *, bounded: bool, halvings: int = 0) -> None:
        super().__init__()
        self.range = SignedRange()
        self.first = CombinedConv(free)
        halving = BLOCKS[:halvings]
        self.body = nn.ModuleList(
            SymmetricConv(a, b, 3, stride=2 if index in halving else 1)
            for index, (a, b) in enumerate(pairwise((free + 12, *BODIES[body])))
        )
        self.stride = 2**halvings
        self.features = BODIES[body][-1]
        self.last = SymmetricConv(self.features, self.features, 3)
        self.bounded = bounded
        for conv in (*self.body, self.last):
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(conv.bias)

    @property
    def halo(self) -> int:
        """Pixels on every side of a pixel that its traces come from, rounded up to whole strides."""
        halo, step = SIDE // 2, 1
        for conv in (*self.body, self.last):
            halo += step
            step *= conv.stride[0]
        return -(-halo // self.stride) * self.stride

    @torch.no_grad()
    def normalise(self, x: Tensor) -> None:
        """Scale and shift every channel so that over frames ``x``, ``[N, 3, H, W]``, it has mean 0 and variance 1.

        For a start from fresh weights: the first layer returns hundredths, and twelve layers without normalisation
        let little of them through. Salimans, Kingma, "Weight Normalization", NeurIPS 2016, equation 6.
        """
        x = self.residuals(x)
        for conv in (*self.body, self.last):
            x = conv(x)
            variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
            scale = (variance + L2_FLOOR).rsqrt()
            conv.weight.mul_(scale[:, None, None, None])
            conv.bias.sub_(mean).mul_(scale)
            x = F.relu((x - mean[:, None, None]) * scale[:, None, None])

    def residuals(self, x: Tensor) -> Tensor:
        """What the first layer's filters see, ``[N, free + 12, H, W]``: a few grey levels beside contents of a hundred.

        To be computed in float32 whatever the precision of the rest.
        """
        return F.relu(self.first(self.range(x)))

    def traces(self, residuals: Tensor) -> Tensor:
        """Traces before they are normalised, ``[N, features, ceil(H / stride), ceil(W / stride)]``."""
        x = residuals
        for conv in self.body:
            x = F.relu(conv(x))
        x = self.last(x)
        return torch.tanh(x) if self.bounded else x

    def raw(self, x: Tensor) -> Tensor:
        """Pixels to :meth:`traces`."""
        with full_precision(x.device.type):
            residuals = self.residuals(x)
        return self.traces(residuals)

    def forward(self, x: Tensor) -> Tensor:
        """:meth:`traces` of unit length: what manipulations are told from."""
        raw = self.raw(x)
        return raw * inverse_length(raw)


def inverse_length(x: Tensor) -> Tensor:  # [N, C, H, W] -> [N, 1, H, W]
    """One over the length of every pixel's vector, from float32 sums."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return wide.square().sum(1, keepdim=True).clamp(min=L2_FLOOR).rsqrt().to(x.dtype)
