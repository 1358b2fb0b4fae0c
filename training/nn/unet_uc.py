"""U-Net-UC: a U-Net that upsamples and then convolves, so that its answers show no checkerboard.

Kniaz, Knyaz, Remondino, "The Point Where Reality Meets Fantasy: Mixed Adversarial Generators for Image Splice
Detection", NeurIPS 2019, section 3.1; widths and kernels as in the authors' code: 4x4 convolutions of stride 2 on the
way down, twice nearest and a 3x3 convolution on the way up.

Where we differ: the borders of the frame are repeated and not grey, so that any size can be extended and the first
convolution is exact on tiles; a frame that is no multiple of ``2 ** depth`` is mirrored at its last row and column.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.nn.deeplab import FrameNorm

Norm = Callable[[int], nn.Module]
"""Makes the normalisation of so many channels."""

SLOPE = 0.2
"""Of the leaky ReLU on the way down."""
DROPPED = 3
"""Upward steps with dropout: those from map to map of the widest, but for the innermost and the last."""
DEVIATION = 0.02
"""Standard deviation of fresh weights."""
TAPS = ([3, 1], [2, 0])
"""Rows of a doubled 4x4 kernel that meet a pixel and the next: for even and for odd rows of the answer."""
TRACES = 0.75
"""Share of the first layer that is high-pass filters, where it is to see traces."""


class First(nn.Module):
    """The outermost step down: 4x4, stride 2, on what the net is given, which it brings from [0, 1] to [-1, 1].

    With :func:`see_traces` three quarters of the filters are second differences that stay as they are, and every
    channel is normalised: traces of a few grey levels are otherwise lost beside contents of a hundred.
    """

    def __init__(self, inputs: int, width: int, *, norm: Norm) -> None:
        super().__init__()
        self.range = Range()
        self.conv = nn.Conv2d(inputs, width, 4, stride=2, bias=False)
        self.norm = norm(width)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, width, ceil(H / 2), ceil(W / 2)]``."""
        return self.norm(self.conv(F.pad(self.range(x), (1, 2, 1, 2), mode="replicate")))


class Range(nn.Module):
    """What lies in [0, 1], as pixels do, to [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """``2 x - 1``."""
        return 2 * x - 1


class DoublingConv(nn.Conv2d):
    """Every pixel twice, borders reflected, a 3x3 convolution: in one step, with four ninths of the multiplications.

    Doubled pixels are read by two or three weights each, whose sums are the 4x4 kernel of a transposed convolution of
    stride 2; a border reflected after doubling is a border repeated before it.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, bias=False)

    def kernel(self) -> Tensor:  # [inputs, outputs, 4, 4]
        """The sums."""
        weight = self.weight.flip(2, 3).transpose(0, 1)
        return sum(F.pad(weight, (left, 1 - left, top, 1 - top)) for left in (0, 1) for top in (0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inputs, h, w]`` to ``[N, outputs, 2 h, 2 w]``."""
        return F.conv_transpose2d(repeated(x), self.kernel(), self.bias, stride=2, padding=3)

    def merged(self) -> Phases:
        """The same for inference, with the sums as its weights."""
        return Phases(self)

    @torch.no_grad()
    def unmerge(self, taps: Tensor) -> None:
        """The other way round: weights whose :class:`Phases` are nearest to ``taps``, ``[4 outputs, inputs, 2, 2]``.

        Sixteen sums of nine weights: exact but for the rounding of the sums.
        """
        unit = DoublingConv(1, 1).double()
        columns = []
        for place in torch.eye(9, dtype=torch.float64):
            unit.weight.copy_(place.reshape(1, 1, 3, 3))
            columns.append(Phases(unit).conv.weight.flatten())
        sums = taps.double().unflatten(0, (4, -1)).movedim(0, 2).flatten(2)  # [outputs, inputs, 16]
        weights = sums @ torch.linalg.pinv(torch.stack(columns, dim=1)).T
        self.weight.copy_(weights.unflatten(2, (3, 3)))


class Phases(nn.Module):
    """A :class:`DoublingConv` as four 2x2 convolutions, of whose answers every 2x2 pixels consist.

    As much work as the transposed convolution, and with it OpenVINO in bf16 is twice as fast.
    """

    def __init__(self, doubling: DoublingConv) -> None:
        super().__init__()
        kernel = doubling.kernel().detach().transpose(0, 1)
        taps = [kernel[:, :, rows][..., columns] for rows in TAPS for columns in TAPS]
        self.pad = nn.ReplicationPad2d(1)
        self.conv = nn.Conv2d(doubling.in_channels, 4 * doubling.out_channels, 2)
        self.conv.weight = nn.Parameter(torch.cat(taps).contiguous())
        self.conv.bias = None if doubling.bias is None else nn.Parameter(doubling.bias.detach().repeat(4))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inputs, h, w]`` to ``[N, outputs, 2 h, 2 w]``."""
        answers = self.conv(self.pad(x)).chunk(4, dim=1)
        sides = (slice(None, -1), slice(1, None))
        places = [(rows, columns) for rows in sides for columns in sides]
        phases = [answer[:, :, rows, columns] for answer, (rows, columns) in zip(answers, places, strict=True)]
        return F.pixel_shuffle(torch.stack(phases, dim=2).flatten(1, 2), 2)


def repeated(x: Tensor) -> Tensor:
    """The outermost pixels once more all around: ``F.pad``'s "replicate", which is slow on maps with channels last."""
    x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
    return torch.cat([x[..., :1], x, x[..., -1:]], dim=3)


class Up(nn.Module):
    """One step up: ReLU, twice the size and 3x3, normalisation."""

    def __init__(self, inputs: int, outputs: int, *, norm: Norm = nn.BatchNorm2d, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = DoublingConv(inputs, outputs)
        self.norm = norm(outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inputs, h, w]`` to ``[N, outputs, 2 h, 2 w]``."""
        return self.dropout(self.norm(self.conv(F.relu(x))))


class Refinement(nn.Module):
    """What two 3x3 convolutions add to maps of one size; fresh ones add nothing."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.change = nn.Sequential(
            *(part for _ in range(2) for part in (nn.LeakyReLU(SLOPE), _conv(channels), norm(channels)))
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[N, channels, h, w]`` to the same."""
        return x + self.change(x)


class UNetUC(nn.Module):
    """Frames to maps of their own size; ``widths`` are the channels at half, a quarter, an eighth ... of it.

    The maps of the first ``refined`` of these sizes pass a :class:`Refinement` on the way down. With ``of_the_frame``
    every layer normalises by the frame's own statistics, as a batch of one does, and none by running ones; what
    follows the first convolution then begins with that of its answers.
    """

    def __init__(
        self, inputs: int, outputs: int, *, widths: tuple[int, ...], dropout: float = 0.0, traces: bool = False,
        refined: int = 0, of_the_frame: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.multiple = 2 ** len(widths)
        norm: Norm = FrameNorm if of_the_frame else nn.BatchNorm2d
        self.first = First(inputs, widths[0], norm=norm if traces and not of_the_frame else nn.Identity)
        self.norm = norm(widths[0]) if traces and of_the_frame else nn.Identity()
        steps = list(pairwise(widths))
        innermost = len(steps) - 1
        self.down = nn.ModuleList(
            nn.Sequential(*_down(a, b, norm=norm if index < innermost else None)) for index, (a, b) in enumerate(steps)
        )
        drops = [dropout if a == b and 0 < innermost - index <= DROPPED else 0.0 for index, (a, b) in enumerate(steps)]
        self.up = nn.ModuleList(
            Up(b if index == innermost else 2 * b, a, norm=norm, dropout=drop)
            for index, ((a, b), drop) in enumerate(zip(steps, drops, strict=True))
        )
        self.last = Up(2 * widths[0], outputs, norm=nn.Identity)
        self.refinements = nn.ModuleList(Refinement(channels, norm) for channels in widths[:refined])
        initialise(self)
        for refinement in self.refinements:
            nn.init.zeros_(refinement.change[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        """Float ``[N, C, H, W]`` in [0, 1] to ``[N, outputs, H, W]`` without a final function, any H and W."""
        return self.body(self.first(x))[..., : x.shape[2], : x.shape[3]]

    def body(self, x: Tensor) -> Tensor:
        """What follows the first step: ``[N, widths[0], h, w]`` to ``[N, outputs, 2 h, 2 w]``."""
        height, width = (2 * side for side in x.shape[2:])
        maps = [self._refined(0, self.norm(extended(x, self.multiple // 2)))]
        for level, down in enumerate(self.down, start=1):
            maps.append(self._refined(level, down(maps[-1])))
        x = maps.pop()
        for up in reversed(self.up):
            x = torch.cat([maps.pop(), up(x)], dim=1)
        return self.last(x)[..., :height, :width]

    def _refined(self, level: int, x: Tensor) -> Tensor:
        return self.refinements[level](x) if level < len(self.refinements) else x


def _down(inputs: int, outputs: int, *, norm: Norm | None) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return [nn.LeakyReLU(SLOPE), conv, *([norm(outputs)] if norm else [])]


def _conv(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, bias=False)


def extended(
    x: Tensor,  # [N, C, H, W]
    multiple: int,
) -> Tensor:
    """Mirrored beyond the last row and column until both sides are a ``multiple``, as often as it takes."""
    for axis in (2, 3):
        size = x.shape[axis]
        if not torch.compiler.is_exporting() and size % multiple == 0:  # an export has to hold for any size
            continue
        place = torch.arange((size + multiple - 1) // multiple * multiple, dtype=torch.int64, device=x.device)
        place = place - place // (2 * size) * (2 * size)
        x = x.index_select(axis, torch.minimum(place, 2 * size - 1 - place))
    return x


@torch.no_grad()
def initialise(module: nn.Module) -> None:
    """N(0, 0.02) for convolutions, N(1, 0.02) for the scales of normalisations, as pix2pix has it."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.normal_(part.weight, 0.0, DEVIATION)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d | FrameNorm):
            nn.init.normal_(part.weight, 1.0, DEVIATION)


@torch.no_grad()
def see_traces(first: First) -> None:
    """Second differences in most of the first convolution's filters, of red, green, blue and grey; they stay fixed.

    Those of SRM's kind, in the upper left 3x3 of the 4x4. A leaky ReLU lets both signs through, so none has a twin.
    """
    diagonal = torch.diag(torch.tensor([-1.0, 2.0, -1.0]))
    across = torch.tensor([[0.0, 0.0, 0.0], [-1.0, 2.0, -1.0], [0.0, 0.0, 0.0]])
    square = torch.tensor([[-1.0, 2.0, -1.0], [2.0, -4.0, 2.0], [-1.0, 2.0, -1.0]])
    kernels = (square, across, across.T, across + across.T, diagonal, diagonal.flip(0))
    colours = torch.cat([torch.full((1, 3), 3**-0.5), torch.eye(3)])
    filters = torch.stack([colour[:, None, None] * k / k.norm() for k in kernels for colour in colours])
    filters = F.pad(filters, (0, 1, 0, 1))[: int(len(first.conv.weight) * TRACES)]
    first.conv.weight[: len(filters)] = filters
    first.conv.weight.requires_grad_(False)
