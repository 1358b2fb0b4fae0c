"""The generator that retouches a pasted region: pix2pix's U-Net on image and mask.

Source: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, as GSR-Net uses it:
no normalisation, no dropout, no biases.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.nn.unet_uc import extended

SLOPE = 0.2
"""Of the leaky ReLU on the way down."""
WIDEST = 8
"""Channels at most, in those of the first level."""


class UNet(nn.Module):
    """``levels`` halvings and as many doublings with a map handed across at each; frames of any size.

    The authors bring frames to 256x256, which is 8 levels down to one pixel; here they keep their size and are mirrored
    beyond the last row and column to a multiple of ``2 ** levels``. Weights start as He et al. say, because without
    normalisation narrow networks let pix2pix's deviation of 0.02 fade.
    """

    def __init__(self, width: int = 64, levels: int = 8, *, residual: bool = False) -> None:
        """With ``residual`` the outputs are changes of the frame, none at the start, and not the frame painted anew."""
        super().__init__()
        self.residual = residual
        self.settings = {"width": width, "levels": levels, "residual": residual}
        widths = [4, *(width * min(2**level, WIDEST) for level in range(levels))]
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1, bias=False) for a, b in pairwise(widths))
        inner = [3, *widths[1:]]
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(b if level == levels - 1 else 2 * b, a, 4, 2, 1, bias=False)
            for level, (a, b) in enumerate(pairwise(inner))
        )
        for conv in (*self.down, *self.up):
            nn.init.kaiming_normal_(conv.weight, a=SLOPE)
        nn.init.normal_(self.up[0].weight, std=0.0 if residual else 0.02)

    def forward(
        self,
        frame: Tensor,  # [N, 3, H, W], 0..255
        mask: Tensor,  # [N, 1, H, W], 0 or 1
    ) -> Tensor:  # [N, 3, H, W], 0..255, not rounded
        """The frame again, with the region under the mask blended into it."""
        height, width = frame.shape[2:]
        x = extended(torch.cat([frame / 127.5 - 1, mask.to(frame.dtype)], dim=1), 2 ** len(self.down))
        maps = []
        for level, conv in enumerate(self.down):
            x = conv(F.leaky_relu(x, SLOPE) if level else x)
            maps.append(x)
        x = maps.pop()
        for level in reversed(range(len(self.up))):
            x = self.up[level](F.relu(x))
            if level:
                x = torch.cat([x, maps.pop()], dim=1)
        made = torch.tanh(x.float())[:, :, :height, :width]
        return (frame + 127.5 * made).clamp(0, 255) if self.residual else (made + 1) * 127.5

    @torch.no_grad()
    def pixels(
        self,
        frame: Tensor,  # uint8 [N, H, W, 3]
        mask: Tensor,  # bool [N, H, W]
    ) -> Tensor:  # uint8 [N, H, W, 3]
        """:meth:`forward` of frames as they are stored."""
        made = self(frame.permute(0, 3, 1, 2).float(), mask[:, None])
        return made.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
