"""MAG's discriminators D_R and D_A: of every 70x70 patch, whether it is real.

Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017. Other than
:mod:`training.nn.patchgan`, GSR-Net's, they normalise and take any number of channels.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from training.nn.unet_uc import initialise

SLOPE = 0.2
STRIDES = (2, 2, 2, 1)
"""Of the layers before the last, whose stride is 1 too."""
GROWTH = (1, 2, 4, 8)
"""Channels of these layers over the first's."""


class Discriminator(nn.Module):
    """Five 4x4 convolutions; batch normalisation but for the first and the last."""

    def __init__(self, inputs: int, *, width: int = 64) -> None:
        super().__init__()
        widths = [inputs, *(width * growth for growth in GROWTH)]
        layers: list[nn.Module] = []
        for index, ((a, b), stride) in enumerate(zip(pairwise(widths), STRIDES, strict=True)):
            layers.append(nn.Conv2d(a, b, 4, stride, 1, bias=index == 0))
            layers += [nn.BatchNorm2d(b)] if index else []
            layers.append(nn.LeakyReLU(SLOPE))
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inputs, H, W]``, 24 px and more to a side, to logits of "real", about ``[N, 1, H / 8, W / 8]``."""
        return self.layers(x)
