"""MAG's retoucher G_R: a frame in which a manipulation is better hidden.

Kniaz, Knyaz, Remondino, "The Point Where Reality Meets Fantasy", NeurIPS 2019, section 3.1. Where we differ: it begins
with a thin layer, so that it has to learn what to lay over a frame and not first what to leave of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.nn.pixels import unit_range
from training.nn.unet_uc import UNetUC

COLOURS = 3
THIN = 4.0
"""Taken from the logit of the layer's opacity: 0.02 at the start in place of a half."""


class Retoucher(nn.Module):
    """U-Net-UC with four outputs: colours, and how much of them is laid over the frame."""

    def __init__(self, *, widths: tuple[int, ...], dropout: float = 0.0) -> None:
        super().__init__()
        self.settings = {"widths": widths, "dropout": dropout}
        self.unet = UNetUC(COLOURS, COLOURS + 1, widths=widths, dropout=dropout)

    def forward(self, frame: Tensor) -> Tensor:
        """Equation 1: ``alpha * colours + (1 - alpha) * frame``; float ``[N, 3, H, W]`` in [0, 1], any H and W."""
        made = self.unet(frame).float()
        colours, alpha = torch.sigmoid(made[:, :COLOURS]), torch.sigmoid(made[:, COLOURS:] - THIN)
        return alpha * colours + (1 - alpha) * frame

    @torch.no_grad()
    def pixels(self, frame: Tensor) -> Tensor:
        """The retouched frame as pixels: uint8 ``[N, H, W, 3]`` to the same."""
        made = self(unit_range(frame, torch.float32))
        return (255 * made).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
