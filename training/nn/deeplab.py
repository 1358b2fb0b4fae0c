"""DeepLab-LargeFOV on VGG-16 with normalisation by the frame's own statistics, and its 4x4 heads.

Source: Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR 2015, as
GSR-Net's authors build it: pools of 3x3, of which the last two have stride 1, and normalisation after every convolution
of the five blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DEPTHS = (2, 2, 3, 3, 3)
"""Convolutions of the five blocks."""
WIDTHS = (1, 2, 4, 8, 8)
"""Channels of the five blocks, in those of the first."""
DEEP = 16
"""Channels of fc6 and fc7, in those of the first block."""
STRIDE = 8
"""Pixels of the frame between two samples of the deepest features."""
TAPS = 4
"""Side of the heads' kernels, px."""


_OF_THE_BATCH = (None, None, True, 0.0)
"""No running statistics, those of the batch, no momentum."""


class FrameNorm(nn.Module):
    """Every channel to mean 0 and deviation 1 over the frame, then a learned scale and shift.

    The authors always normalise with the statistics of the batch at hand, which at test is one frame; here they are
    the frame's own in training too, so that a network is used as it was trained and batches do not matter. Nothing of
    it can be folded into a convolution.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to the same.

        Where nothing is learned, in steps whose sums are over one axis at a time: single-precision sums over the two
        million pixels of full HD, which runtimes' own normalisations and torch's take, are off in the third digit.
        """
        if x.requires_grad:  # several times as fast on CPUs as torch's instance normalisation, and the same
            frames = x.split(1)
            return torch.cat(
                [torch.batch_norm(frame, self.weight, self.bias, *_OF_THE_BATCH, self.eps, False) for frame in frames]
            )
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        centred = wide - wide.mean(3, keepdim=True).mean(2, keepdim=True)
        variance = centred.square().mean(3, keepdim=True).mean(2, keepdim=True)
        weight, bias = (learned if learned.dim() == 3 else _column(learned) for learned in (self.weight, self.bias))
        return (centred * (weight * torch.rsqrt(variance + self.eps)) + bias).to(x.dtype)

    def settle(self) -> None:
        """Hold scale and shift as ``[C, 1, 1]`` from now on: what an exporter reshapes loses its name in the graph."""
        self.weight, self.bias = (nn.Parameter(_column(learned.detach())) for learned in (self.weight, self.bias))


def _column(learned: Tensor) -> Tensor:
    return learned[:, None, None]


class SameConv(nn.Conv2d):
    """A 4x4 convolution without bias that keeps the size: zeros, one row before and two after, as TensorFlow pads."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, TAPS, padding=TAPS // 2, bias=False)
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inputs, H, W]`` to ``[N, outputs, H, W]``."""
        return super().forward(x)[:, :, 1:, 1:]


class PyramidConv(nn.Module):
    """A :class:`SameConv` on maps of several sizes, brought to one size and put together; which is never done.

    A convolution is a sum over taps of the weights of a tap times the map moved by the tap. Weights act on channels and
    enlarging on positions, so their order does not matter: the small maps are multiplied first (16 taps of every output
    from each), then enlarged and added, then moved and summed. Exact up to rounding, at the border too, because what is
    moved in from outside the frame is zero either way. Per pixel of the frame 16 values of every output are stored
    instead of all channels.
    """

    def __init__(self, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.taps = nn.ModuleList(nn.Conv2d(width, outputs * TAPS**2, 1, bias=False) for width in widths)
        for conv in self.taps:
            nn.init.normal_(conv.weight, std=0.02)
        self.outputs = outputs
        moves = torch.eye(TAPS**2).reshape(1, TAPS**2, TAPS, TAPS).repeat(outputs, 1, 1, 1)
        self.register_buffer("moves", moves, persistent=False)

    def kernel(self) -> Tensor:
        """The weights as a :class:`SameConv` has them, ``[outputs, sum(widths), 4, 4]``."""
        weight = torch.cat([conv.weight for conv in self.taps], dim=1)
        return weight.reshape(self.outputs, TAPS, TAPS, -1).permute(0, 3, 1, 2)

    def forward(self, maps: Sequence[Tensor], strides: Sequence[int], size: tuple[int, int]) -> Tensor:
        """Maps ``[N, widths[i], h_i, w_i]``, ``strides[i]`` px apart, to ``[N, outputs, *size]``."""
        first, *others = (
            upsampled(conv(x), stride, size) for conv, x, stride in zip(self.taps, maps, strides, strict=True)
        )
        taps = sum(others, start=first)
        return F.conv2d(taps, self.moves.to(taps.dtype), padding=TAPS // 2, groups=self.outputs)[:, :, 1:, 1:]


def upsampled(x: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Maps whose samples lie ``stride`` px apart, the first at pixel 0, to ``size`` px: linear, constant at the end.

    What TensorFlow 1 does without aligned corners, but by exactly ``stride`` also where the size is no multiple of it:
    features and pixels then lie as the pools, whose windows are centred on every second pixel, have put them.
    """
    height, width = (side * stride + 1 for side in x.shape[2:])
    if x.requires_grad:  # the gradient of an interpolation takes CPUs seven times as long
        rows, columns = (_enlarging(x, side, stride, whole) for side, whole in zip(x.shape[2:], size, strict=True))
        return rows @ x @ columns.T
    padded = F.pad(x, (0, 1, 0, 1), mode="replicate")
    enlarged = F.interpolate(padded, size=(height, width), mode="bilinear", align_corners=True)
    for reached, side in zip((height, width), size, strict=True):
        torch._check(reached >= side)  # else torch.export of 2.11 does not know what the cut leaves
    return enlarged[:, :, : size[0], : size[1]]


def _enlarging(x: Tensor, side: int, stride: int, whole: int) -> Tensor:
    """The matrix ``[whole, side]`` that enlarges an axis of ``x``; its weights are exact in every precision."""
    place = torch.arange(whole, device=x.device)
    before, share = place // stride, (place % stride) / stride
    matrix = torch.zeros(whole, side, device=x.device)
    matrix[place, before] += 1 - share
    matrix[place, (before + 1).clamp(max=side - 1)] += share
    return matrix.to(x.dtype)


def block(inputs: int, outputs: int, depth: int, dilation: int) -> nn.Sequential:
    """Convolutions of 3x3, each with its normalisation and ReLU."""
    layers: list[nn.Module] = []
    for a, b in pairwise((inputs, *[outputs] * depth)):
        layers += [nn.Conv2d(a, b, 3, padding=dilation, dilation=dilation), FrameNorm(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def bare(layers: nn.Module) -> None:
    """For inference: blocks without the biases that normalisation takes away again; graphs name all their weights."""
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d):
            layer.bias = None
        if isinstance(layer, FrameNorm):
            layer.settle()


class DeepLab(nn.Module):
    """VGG-16 with a large field of view; input float ``[N, 3, H, W]``, any H and W."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        widths = [width * share for share in WIDTHS]
        dilations = (1, 1, 1, 1, 2)
        self.blocks = nn.ModuleList(
            block(a, b, depth, dilation)
            for (a, b), depth, dilation in zip(pairwise((3, *widths)), DEPTHS, dilations, strict=True)
        )
        self.fc6 = nn.Conv2d(widths[-1], DEEP * width, 3, padding=12, dilation=12)
        self.fc7 = nn.Conv2d(DEEP * width, DEEP * width, 1)
        self.drop = nn.Dropout(dropout)
        self.apply(kaiming)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """What blocks 2, 3 and 4 make, 2, 4 and 8 px apart, and the deepest features, 8 px apart."""
        maps = []
        for index, layers in enumerate(self.blocks):
            x = layers(x)
            maps.append(x)
            x = F.max_pool2d(x, 3, 2 if index < 3 else 1, 1)
        x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        x = self.drop(F.relu(self.fc6(x)))
        return maps[1:4], self.drop(F.relu(self.fc7(x)))


def kaiming(module: nn.Module) -> None:
    """Let a convolution before a ReLU begin so that deviations stay."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)
