"""Which manipulation was done to a patch: what ManTra-Net's extractor is taught first.

Source: Wu, AbdAlmageed, Natarajan, "ManTra-Net", CVPR 2019, section 3 (table 2's decision block).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.nn.padding import symmetric
from training.nn.pixels import unit_range
from training.nn.vgg import Extractor, SymmetricConv

SPARSE = 4
"""Pixels from one decision of :meth:`Classifier.sparse` to the next."""


class Classifier(nn.Module):
    """The extractor and a 3x3 decision for every pixel that it has traces of.

    ``forward(frame)`` takes uint8 ``[N, H, W, 3]`` RGB and returns logits, ``[N, classes, H, W]``, or of every
    ``extractor.stride``-th row and column. ``settings`` are
    those that the extractor was made with: a checkpoint carries them.
    """

    def __init__(self, extractor: Extractor, classes: int, settings: Mapping[str, object]) -> None:
        super().__init__()
        self.extractor = extractor
        self.decide = SymmetricConv(extractor.features, classes, 3)
        self.settings = dict(settings)
        nn.init.xavier_uniform_(self.decide.weight)
        nn.init.zeros_(self.decide.bias)

    def constrain(self) -> None:
        """Bring weights back under their constraints; has to follow every step of the optimiser."""
        self.extractor.first.constrain()

    def forward(self, frame: Tensor) -> Tensor:
        """Logits of every class at every pixel that has traces."""
        return self.decide(self.traces(frame))

    def sparse(self, frame: Tensor) -> Tensor:
        """:meth:`forward` at every fourth row and column of the frame.

        What is decided at neighbours is seen on nearly the same 29x29 pixels, and 385 decisions cost as much as an
        extractor.
        """
        stride = max(SPARSE // self.extractor.stride, 1)
        return F.conv2d(symmetric(self.traces(frame), 1), self.decide.weight, self.decide.bias, stride=stride)

    def traces(self, frame: Tensor) -> Tensor:
        """What is decided from: the extractor's answer."""
        return self.extractor(unit_range(frame, self.decide.weight.dtype))

    def patch(self, frame: Tensor) -> Tensor:
        """Log-probabilities of every class for the whole patch, float32 ``[N, classes]``: the mean over its pixels."""
        return torch.log_softmax(self(frame).float(), dim=1).mean(3).mean(2)
