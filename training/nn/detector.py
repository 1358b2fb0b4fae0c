"""The module that is exported: pixels in, probabilities out.

A network implements :class:`Net`; :class:`Detector` adds what comes before and after it, so that training, export and
deployment share one definition of normalisation, resize rule and probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.nn.pixels import area_shrink, levels, unit_range


class Logits(NamedTuple):
    """What the losses want."""

    masks: tuple[Tensor, ...]
    """Mask logits, finest first, each ``[N, g, g]`` over the whole frame."""
    score: Tensor
    """Two-class logits ``[N, 2]``; class 1 is "manipulated"."""


class Net(Protocol):
    """A network in the three parts that an artifact's plan runs one by one."""

    def local(self, x: Tensor) -> list[Tensor]:
        """Float ``[N, 3, H, W]`` to maps of small receptive field; exact on tiles with a halo.

        In [0, 1], or in 0..255 where the network says that it ``takes_levels``.
        """

    def rest(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Two-class logits ``[N, 2]``, and the features that localisation wants."""

    def locate(self, features: list[Tensor]) -> list[Tensor]:
        """Mask logits ``[N, 1, g, g]``, finest first."""


class Detector(nn.Module):
    """A network with its pre- and post-processing.

    ``forward(frame)`` takes uint8 ``[N, H, W, 3]`` RGB and returns the heatmap, float32 ``[N, H, W]`` in [0, 1], and
    the score, float32 ``[N]`` in [0, 1]. ``calibration`` (slope, offset; buffers, fitted after training) maps the
    difference of the two class logits to the logit of the score. ``settings`` are those of the model's ``Config``: a
    checkpoint carries them.
    """

    def __init__(self, net: nn.Module, settings: Mapping[str, object], *, citation: str) -> None:
        super().__init__()
        self.net = net
        self.settings = dict(settings)
        self.citation = citation
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))

    def pixels(self, frame: Tensor, working_size: int = 0) -> Tensor:
        """The frame in 0..255, float32, its long side brought down to ``working_size`` px; 0 leaves it alone."""
        if 0 < working_size < max(frame.shape[1:3]):
            return area_shrink(frame, working_size)
        return frame.to(torch.float32)

    def local(self, pixels: Tensor) -> list[Tensor]:
        """The network's local part on float pixels ``[N, h, w, 3]`` in 0..255."""
        return self.net.local(self.prepared(pixels))

    def prepared(self, pixels: Tensor) -> Tensor:
        """Pixels for the network, ``[N, 3, h, w]``: in [0, 1], or as they are for one that ``takes_levels``."""
        return (levels if getattr(self.net, "takes_levels", False) else unit_range)(pixels, self.dtype)

    def score(self, logits: Tensor) -> Tensor:
        """Two-class logits to the calibrated probability of class 1, float32 [N]."""
        slope, offset = self.calibration.float()
        margin = logits[:, 1].float() - logits[:, 0].float()
        return torch.sigmoid(slope * margin + offset)

    def heatmap(self, mask: Tensor, height: int, width: int) -> Tensor:
        """Finest mask logits ``[N, 1, g, g]`` to probabilities at the frame's own size, corners aligned."""
        probability = torch.sigmoid(mask.float())
        return F.interpolate(probability, size=(height, width), mode="bilinear", align_corners=True)[:, 0]

    def logits(self, frame: Tensor, working_size: int = 0) -> Logits:
        """Logits for the losses; differentiable in the parameters."""
        score, features = self.net.rest(self.local(self.pixels(frame, working_size)))
        return Logits(tuple(mask[:, 0] for mask in self.net.locate(features)), score)

    def forward(self, frame: Tensor, working_size: int = 0) -> tuple[Tensor, Tensor]:
        """Heatmap and score of every frame of a batch."""
        logits = self.logits(frame, working_size)
        return self.heatmap(logits.masks[0][:, None], *frame.shape[1:3]), self.score(logits.score)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the first parameters, which pixels meet: what they are cast to."""
        return next(self.parameters()).dtype
