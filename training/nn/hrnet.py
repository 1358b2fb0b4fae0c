"""PSCC-Net's trunk: HRNet-W18-small-v2 with one module per stage and a stem that keeps the frame's resolution.

Source: Wang et al., "Deep High-Resolution Representation Learning", and the configuration in PSCC-Net's public code
(both stem convolutions have stride 1, every stage one module of two blocks per branch). Names of parameters follow the
published checkpoints. Every convolution is followed by batch normalisation and has no bias.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (18, 36, 72, 144)
"""Channels of the four branches, finest first."""
STEM_WIDTH = 64
BN_MOMENTUM = 0.01


def conv_bn(inputs: int, outputs: int, kernel: int, *, stride: int = 1, bias: bool = False) -> list[nn.Module]:
    """A padded convolution and its batch normalisation."""
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias),
        nn.BatchNorm2d(outputs, momentum=BN_MOMENTUM),
    ]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an identity shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_bn(width, width, 3)
        self.conv2, self.bn2 = conv_bn(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, width, h, w]`` to the same shape."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + x)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 around a shortcut, which is a 1x1 convolution where the width changes."""

    def __init__(self, inputs: int, width: int, expansion: int) -> None:
        super().__init__()
        outputs = width * expansion
        self.conv1, self.bn1 = conv_bn(inputs, width, 1)
        self.conv2, self.bn2 = conv_bn(width, width, 3)
        self.conv3, self.bn3 = conv_bn(width, outputs, 1)
        self.downsample = nn.Sequential(*conv_bn(inputs, outputs, 1)) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inputs, h, w]`` to ``[N, width * expansion, h, w]``."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn3(self.conv3(y)) + shortcut)


class HighResolutionModule(nn.Module):
    """Two blocks per branch, then every branch becomes the sum of all branches brought to its size and width."""

    def __init__(self, branches: int) -> None:
        super().__init__()
        widths = WIDTHS[:branches]
        self.branches = nn.ModuleList(nn.Sequential(BasicBlock(w), BasicBlock(w)) for w in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleDict({str(j): self._link(j, i) for j in range(branches) if j != i}) for i in range(branches)
        )

    @staticmethod
    def _link(source: int, target: int) -> nn.Sequential:
        """What a branch passes through on its way to another: 1x1 upwards, strided 3x3 per halving downwards."""
        if source > target:
            return nn.Sequential(*conv_bn(WIDTHS[source], WIDTHS[target], 1))
        steps = []
        for step in range(source, target):
            last = step == target - 1
            layers = conv_bn(WIDTHS[source], WIDTHS[target if last else source], 3, stride=2)
            steps.append(nn.Sequential(*layers, *([] if last else [nn.ReLU()])))
        return nn.Sequential(*steps)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        """Maps of the branches, finest first, to maps of the same shapes."""
        xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        return [F.relu(sum_terms([self._term(xs, j, i) for j in range(len(xs))])) for i in range(len(xs))]

    def _term(self, xs: list[Tensor], source: int, target: int) -> Tensor:
        if source == target:
            return xs[target]
        y = self.fuse_layers[target][str(source)](xs[source])
        if source < target:
            return y
        return F.interpolate(y, size=xs[target].shape[2:], mode="bilinear", align_corners=True)


def sum_terms(terms: list[Tensor]) -> Tensor:
    """Left-to-right sum, the order of the published code."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


class Trunk(nn.Module):
    """Four maps of 18, 36, 72 and 144 channels at 1, 1/2, 1/4 and 1/8 of the stem's resolution.

    Input float ``[N, 3, H, W]`` in [0, 1], any H and W. ``stem_stride`` 1 is the paper's; 2 halves the resolution of
    everything in the first convolution (psccnet-lite).
    """

    def __init__(self, stem_stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_bn(3, STEM_WIDTH, 3, stride=stem_stride)
        self.conv2, self.bn2 = conv_bn(STEM_WIDTH, STEM_WIDTH, 3)
        self.layer1 = nn.Sequential(Bottleneck(STEM_WIDTH, 64, 4), Bottleneck(256, 64, 4))
        self.transition1 = nn.ModuleList(
            [
                nn.Sequential(*conv_bn(256, WIDTHS[0], 3), nn.ReLU()),
                nn.Sequential(nn.Sequential(*conv_bn(256, WIDTHS[1], 3, stride=2), nn.ReLU())),
            ]
        )
        self.stage2 = nn.Sequential(HighResolutionModule(2))
        self.transition2 = _widen(2)
        self.stage3 = nn.Sequential(HighResolutionModule(3))
        self.transition3 = _widen(3)
        self.stage4 = nn.Sequential(HighResolutionModule(4))

    def local(self, x: Tensor) -> list[Tensor]:
        """Stem, first layer and first transition: small receptive field, two thirds of the work, tileable exactly."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.layer1(x)
        return [transition(x) for transition in self.transition1]

    def exchange(self, xs: list[Tensor]) -> list[Tensor]:
        """Stages 2 and 3: the inputs of stage 4."""
        xs = self.stage2[0](xs)
        xs = self.stage3[0]([*xs, self.transition2["2"](xs[-1])])
        return [*xs, self.transition3["3"](xs[-1])]

    def forward(self, x: Tensor) -> list[Tensor]:
        """The four maps, finest first."""
        return self.stage4[0](self.exchange(self.local(x)))


def _widen(branch: int) -> nn.ModuleDict:
    layers = nn.Sequential(*conv_bn(WIDTHS[branch - 1], WIDTHS[branch], 3, stride=2), nn.ReLU())
    return nn.ModuleDict({str(branch): nn.Sequential(layers)})


def initialise(module: nn.Module) -> None:
    """Kaiming normal for every convolution; the published 0.001 presumes ImageNet weights on top."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def local_reach(stem_stride: int) -> tuple[int, int]:
    """Halo and alignment, px of the frame, with which :meth:`Trunk.local` is exact on a tile.

    conv1 reaches 1 px, everything after it 1 sample per 3x3: conv2, two bottlenecks and a transition make 4 samples of
    ``stem_stride`` px. Tiles start at multiples of the coarsest output stride.
    """
    align = 2 * stem_stride
    reach = 1 + 4 * stem_stride
    return -(-reach // align) * align, align
