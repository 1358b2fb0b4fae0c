"""GSR-Net: generate, segment and refine; what is deployed of it is the segmenter.

Peng Zhou, Bor-Chun Chen, Xintong Han, Mahyar Najibi, Abhinav Shrivastava, Ser-Nam Lim, Larry S. Davis, "Generate,
Segment, and Refine: Towards Generic Manipulation Segmentation", AAAI 2020; the authors' public code where the paper is
silent: heads of 4x4 without bias, normalisation by the frame's own statistics. How it learns stands in
:mod:`training.recipes.gsrnet`.

Where we differ: the boundary head is computed without its 896 channels at full resolution
(:class:`training.nn.deeplab.PyramidConv`), which is exact; features are enlarged by their stride whatever the frame's
size; pixels are not brought to mean 0, which normalisation does; weights start from Kaiming's initialisation, not from
ImageNet. The paper has no score of a frame: ours is the logarithm of the mean odds over its pixels, which a region that
is small and certain raises, unlike the mean probability.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from training.nn.deeplab import DEEP, STRIDE, WIDTHS, DeepLab, PyramidConv, SameConv, bare, upsampled
from training.nn.detector import Detector

CITATION = "Zhou, Chen, Han, Najibi, Shrivastava, Lim, Davis: GSR-Net, AAAI 2020, doi:10.1609/aaai.v34i07.7007"
STRIDES = (2, 4, 8)
"""Of the blocks that the boundary is told from, px."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What can be chosen about GSR-Net; the defaults are the paper's model."""

    width: int = 64
    """Channels of the first block, from which all others follow; 64 is VGG-16."""
    boundary: bool = True
    """Whether the boundary is predicted and helps with the final prediction; False is the paper's baseline, DeepLab."""
    dropout: float = 0.5
    """Share of fc6's and fc7's features that is left out in training."""

    def __post_init__(self) -> None:
        if self.width < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"width is {self.width} and dropout {self.dropout}\n"
                "  -> use a width of at least 1, 64 in the paper, and a dropout in [0, 1)"
            )


VARIANTS = {"gsrnet-lite": {"width": 16, "dropout": 0.0}}
"""Models of their own that are settings of this one; not the paper's."""


class GSRNet(nn.Module):
    """DeepLab with a boundary branch; input float ``[N, 3, H, W]`` in [0, 1], any H and W.

    Every layer normalises over the whole frame, so it cannot be tiled.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.deeplab = DeepLab(config.width, config.dropout)
        self.interior = SameConv(DEEP * config.width, 2)
        if config.boundary:
            self.boundary = PyramidConv([config.width * share for share in WIDTHS[1:4]], 2)
            self.final = SameConv(4, 2)

    def predictions(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of mask and boundary, ``[N, 1, H, W]`` each: those of class 1 over those of class 0."""
        size = x.shape[2:]
        maps, deep = self.deeplab(x)
        interior = upsampled(self.interior(deep), STRIDE, size)
        if not self.config.boundary:
            return margin(interior), None
        boundary = self.boundary(maps, STRIDES, size)
        return margin(self.final(torch.cat([interior, boundary], dim=1))), margin(boundary)

    def local(self, x: Tensor) -> list[Tensor]:
        """Mask logits; all of the network, which is global."""
        return [self.predictions(x)[0]]

    def rest(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Class logits ``[N, 2]`` and the mask logits as they are."""
        odds = log_mean_odds(maps[0])
        return torch.cat([torch.zeros_like(odds), odds], dim=1), maps

    def locate(self, features: list[Tensor]) -> list[Tensor]:
        """Mask logits as they are."""
        return features

    @torch.no_grad()
    def simplified(self) -> GSRNet:
        """A copy for inference; what is left out is :func:`training.nn.deeplab.bare`'s."""
        copied = copy.deepcopy(self).eval()
        bare(copied.deeplab.blocks)
        return copied


def margin(logits: Tensor) -> Tensor:
    """Two-class logits ``[N, 2, H, W]`` to the logit of class 1, ``[N, 1, H, W]``."""
    return logits[:, 1:] - logits[:, :1]


def log_mean_odds(mask: Tensor) -> Tensor:
    """Mask logits ``[N, 1, H, W]`` to the logarithm of the mean of ``exp(logit)``, float32 ``[N, 1]``.

    Row by row: over all pixels of a large frame at once, runtimes that add one by one are off by 4e-4.
    """
    logits = mask.float()
    most = logits.amax((2, 3), keepdim=True)
    return (most + torch.log(torch.exp(logits - most).mean(3, keepdim=True).mean(2, keepdim=True)))[:, :, 0, 0]


def build(config: Config) -> Detector:
    """GSR-Net's segmenter with fresh weights, pixels in and probabilities out."""
    return Detector(GSRNet(config), asdict(config), citation=CITATION)
