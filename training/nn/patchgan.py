"""The discriminator that judges patches of 70x70 px: is each a photograph's?

Source: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017; GSR-Net uses it
without normalisation.
"""

from __future__ import annotations

from torch import Tensor, nn

LAYERS = ((1, 2), (2, 2), (4, 2), (8, 1))
"""Channels, in those of the first layer, and strides."""
FIELD = 70
"""Side of a patch, px."""


class PatchGAN(nn.Module):
    """Logits of every patch, above 0 for "real": 30x30 of a frame of 256x256, which overlap.

    ``inputs`` are the channels of what is judged, in about [-1, 1]; ``norm`` normalises the inner layers by the batch.
    """

    def __init__(self, inputs: int, *, width: int = 64, norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = inputs
        for index, (share, stride) in enumerate(LAYERS):
            after, is_normalised = width * share, norm and index > 0
            layers.append(nn.Conv2d(before, after, 4, stride, 1, bias=not is_normalised))
            layers += [nn.BatchNorm2d(after)] if is_normalised else []
            layers.append(nn.LeakyReLU(0.2))
            before = after
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inputs, H, W]`` to ``[N, 1, H / 8 - 2, W / 8 - 2]``, sides that are multiples of 8."""
        return self.layers(x)
