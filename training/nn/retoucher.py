"""MAG's retoucher G_R: a frame in which a manipulation is better hidden.

Kniaz, Knyaz, Remondino, "The Point Where Reality Meets Fantasy", NeurIPS 2019, section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.nn.pixels import unit_range
from training.nn.unet_uc import UNetUC

COLOURS = 3


class Retoucher(nn.Module):
    """U-Net-UC with four outputs: colours, and how much of them is laid over the frame."""

    def __init__(self, *, widths: tuple[int, ...], dropout: float = 0.0) -> None:
        super().__init__()
        self.settings = {"widths": widths, "dropout": dropout}
        self.unet = UNetUC(COLOURS, COLOURS + 1, widths=widths, dropout=dropout)

    def forward(self, frame: Tensor) -> Tensor:
        """Equation 1: ``alpha * colours + (1 - alpha) * frame``; float ``[N, 3, H, W]`` in [0, 1], any H and W."""
        made = torch.sigmoid(self.unet(frame).float())
        colours, alpha = made[:, :COLOURS], made[:, COLOURS:]
        return alpha * colours + (1 - alpha) * frame

    @torch.no_grad()
    def pixels(self, frame: Tensor) -> Tensor:
        """The retouched frame as pixels: uint8 ``[N, H, W, 3]`` to the same."""
        made = self(unit_range(frame, torch.float32))
        return (255 * made).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
