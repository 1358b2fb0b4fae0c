"""PSCC-Net: progressive spatio-channel correlation.

Xiaohong Liu, Yaojie Liu, Jun Chen, Xiaoming Liu, "PSCC-Net: Progressive Spatio-Channel Correlation Network for Image
Manipulation Detection and Localization", IEEE TCSVT 2022; the authors' public code (MIT) where the paper is silent.

Where we differ: the trunk starts from Kaiming's initialisation, not from ImageNet (the heads keep PyTorch's, as
published: larger logits would make the unscaled softmax one-hot from the start); masks are returned as logits and
their sigmoid is applied where the next scale is modulated; ``layout="paper"`` (default) transposes the channel product
back as equation 4 implies, ``layout="released"`` reproduces the published weights' missing transpose.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kernels.sccm_attention.functional import sccm_attention
from training.nn.detector import Detector
from training.nn.hrnet import WIDTHS, Bottleneck, Trunk, conv_bn, initialise, local_reach

CITATION = "Liu, Liu, Chen, Liu: PSCC-Net, IEEE TCSVT 2022, doi:10.1109/TCSVT.2022.3189545"
GRID_STEP = 32
FOLDS = (4, 2, 2, 1)
"""r of each scale, finest first: channels multiply and positions divide by r squared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What can be chosen about PSCC-Net; the defaults are the paper's model."""

    layout: Literal["paper", "released"] = "paper"
    """Layout of the SCCM's channel product (see the module)."""
    grid: int = 256
    """Side of the finest mask, px; a multiple of 32. Features are sampled on grid, grid/2, grid/4 and grid/8."""
    stem_stride: Literal[1, 2] = 1
    """Stride of the first convolution: 1 in the paper, 2 quarters the work (psccnet-lite)."""
    finest_mask: Literal[1, 2, 3, 4] = 1
    """Early exit: the last mask that is computed (paper, Table V); 1 is the finest."""

    def __post_init__(self) -> None:
        if self.layout not in {"paper", "released"}:
            raise ValueError(f"layout is {self.layout!r}\n  -> use 'paper' or 'released'")
        if self.grid <= 0 or self.grid % GRID_STEP:
            raise ValueError(f"grid is {self.grid}\n  -> use a multiple of {GRID_STEP} px, 256 in the paper")
        if self.stem_stride not in {1, 2} or self.finest_mask not in {1, 2, 3, 4}:
            raise ValueError(
                "stem_stride is 1 or 2 and finest_mask 1 to 4\n  -> got "
                f"stem_stride={self.stem_stride}, finest_mask={self.finest_mask}"
            )


VARIANTS = {"psccnet-lite": {"stem_stride": 2, "grid": 128}}
"""Models of their own that are settings of this one; not the paper's."""


class SCCM(nn.Module):
    """One spatio-channel correlation module and its mask, at one scale.

    ``x`` ``[N, C, h, w]`` is reshaped, not pixel-unshuffled, to ``[N, C r^2, h w / r^2]``: a plain reinterpretation of
    memory, in which a position groups r^2 pixels of r^2 different horizontal bands.
    """

    def __init__(self, width: int, fold: int, layout: str) -> None:
        super().__init__()
        folded = width * fold * fold
        self.fold, self.layout = fold, layout
        self.g, self.theta, self.phi = (nn.Conv2d(folded, folded, 1) for _ in range(3))
        self.spatial, self.channel = (nn.Conv2d(width, width, 1) for _ in range(2))
        self.gamma_s, self.gamma_c = (nn.Parameter(torch.ones(1)) for _ in range(2))
        self.mask = nn.Sequential(nn.Conv2d(width, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Mask logits ``[N, 1, h, w]`` (equations 2 to 4)."""
        batch, width, height, breadth = x.shape
        fold = self.fold
        folded = x.reshape(batch, width * fold * fold, height // fold, breadth // fold)
        theta, phi, g = (conv(folded).flatten(2) for conv in (self.theta, self.phi, self.g))
        spatial, channel = sccm_attention(theta, phi, g)
        spatial = spatial.transpose(1, 2).reshape(x.shape)
        if self.layout == "paper":
            channel = channel.transpose(1, 2)
        channel = channel.reshape(x.shape)
        z = x + self.gamma_s * self.spatial(spatial) + self.gamma_c * self.channel(channel)
        return self.mask(z)


class Localisation(nn.Module):
    """Progressive masks from coarse to fine; each finer scale is modulated by the coarser mask."""

    def __init__(self, layout: str, finest_mask: int) -> None:
        super().__init__()
        self.scales = nn.ModuleDict(
            {str(scale): SCCM(WIDTHS[scale - 1], FOLDS[scale - 1], layout) for scale in range(4, finest_mask - 1, -1)}
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Features finest first; mask logits ``[N, 1, g, g]`` finest first."""
        masks: list[Tensor] = []
        for scale, sccm in self.scales.items():
            x = features[int(scale) - 1]
            if masks:
                mask = torch.sigmoid(masks[-1])
                x = x * F.interpolate(mask, size=x.shape[2:], mode="bilinear", align_corners=True)
            masks.append(sccm(x))
        return masks[::-1]


class Detection(nn.Module):
    """Is anything manipulated at all: the scales merged from fine to coarse, pooled, two logits."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.ModuleList(Bottleneck(width, width, 2) for width in WIDTHS)
        self.down = nn.ModuleList(
            nn.Sequential(*conv_bn(2 * a, 2 * b, 3, stride=2, bias=True), nn.ReLU()) for a, b in pairwise(WIDTHS)
        )
        self.final = nn.Sequential(*conv_bn(2 * WIDTHS[-1], 128, 1, bias=True), nn.ReLU())
        self.classifier = nn.Sequential(nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features finest first; logits ``[N, 2]``."""
        y = self.widen[0](features[0])
        for widen, down, x in zip(self.widen[1:], self.down, features[1:], strict=True):
            y = widen(x) + down(y)
        return self.classifier(self.final(y).mean((2, 3)))


class PSCCNet(nn.Module):
    """Trunk, localisation and detection; input float ``[N, 3, H, W]`` in [0, 1], any H and W."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.stem_stride)
        self.localisation = Localisation(config.layout, config.finest_mask)
        self.detection = Detection()

    @property
    def grids(self) -> list[int]:
        """Side of the sampled features, px, finest first."""
        return [self.config.grid >> scale for scale in range(4)]

    @property
    def reach(self) -> tuple[int, int]:
        """Halo and alignment, px of the frame, with which :meth:`local` is exact on tiles."""
        return local_reach(self.config.stem_stride)

    def local(self, x: Tensor) -> list[Tensor]:
        """The trunk up to its first transition."""
        return self.trunk.local(x)

    def rest(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Class logits ``[N, 2]`` and the four sampled features (models at any size see the same grids)."""
        maps = self.trunk.stage4[0](self.trunk.exchange(maps))
        features = [
            F.interpolate(x, size=(grid, grid), mode="bilinear", align_corners=True)
            for x, grid in zip(maps, self.grids, strict=True)
        ]
        return self.detection(features), features

    def locate(self, features: list[Tensor]) -> list[Tensor]:
        """Mask logits, finest first."""
        return self.localisation(features)


def build(config: Config) -> Detector:
    """PSCC-Net with fresh weights, pixels in and probabilities out."""
    net = PSCCNet(config)
    initialise(net.trunk)
    return Detector(net, asdict(config), citation=CITATION)
