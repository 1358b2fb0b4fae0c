"""First layers that see traces and not contents: SRM's fixed high-pass filters, Bayar's constrained ones, free ones.

Sources: Fridrich, Kodovsky, "Rich Models for Steganalysis of Digital Images", TIFS 2012; Zhou et al., "Learning Rich
Features for Image Manipulation Detection", CVPR 2018 (the three filters kept); Bayar, Stamm, IH&MMSec 2016; their
combination: Wu, AbdAlmageed, Natarajan, "ManTra-Net", CVPR 2019, section 3.1, and the authors' code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.nn.padding import symmetric

SIDE = 5
"""Side of every filter, px."""
BAYAR_FILTERS = 3
SRM_DIVISORS = (4, 12, 2)
"""What each of SRM's filters is divided by; before that they are whole numbers."""
EPSILON = 1e-7
"""Added to the sum that Bayar's filters are divided by; Keras' value."""
MOST_STEPS = 2**11
"""Whole numbers up to it are exact in float16. Bayar's filters with numbers beyond it would lose their middle, of 1."""
MOST_IN_ALL = 2**24 // 255
"""Most that the steps of a filter may add up to: times 255 half levels, float32 is exact."""
SMALLEST_HALF = 2.0**-24


def srm() -> Tensor:  # float32 [9, 3, 5, 5]
    """SRM's three residuals, each of red, of green and of blue by itself: second order in the plane, 5x5, along a row.

    No truncation follows.
    """
    plane = torch.tensor([[-1.0, 2.0, -1.0], [2.0, -4.0, 2.0], [-1.0, 2.0, -1.0]])
    along = torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 1.0], [0.0, 0.0, 0.0]])
    outer, inner, middle = [-1.0, 2.0, -2.0, 2.0, -1.0], [2.0, -6.0, 8.0, -6.0, 2.0], [-2.0, 8.0, -12.0, 8.0, -2.0]
    square = torch.tensor([outer, inner, middle, inner, outer])
    filters = torch.stack([F.pad(plane, (1, 1, 1, 1)), square, F.pad(along, (1, 1, 1, 1))])
    filters = filters / torch.tensor(SRM_DIVISORS)[:, None, None]
    return torch.einsum("kij,oc->kocij", filters, torch.eye(3)).flatten(0, 1)


@torch.no_grad()
def constrain_bayar(weight: Tensor) -> None:  # [O, C, 5, 5], in place
    """Bayar's constraint: in every plane of every filter -1 in the middle, and a sum of 1 around it.

    The filter predicts a pixel from its neighbours and returns the error of the prediction.
    """
    middle = weight.shape[-1] // 2
    weight[..., middle, middle] = 0
    weight /= weight.sum((2, 3), keepdim=True) + EPSILON
    weight[..., middle, middle] = -1


@torch.no_grad()
def in_whole_steps(weight: Tensor) -> Tensor:  # [O, C, 5, 5]
    """Filters rounded so that of whole and half grey levels they cancel contents exactly, in any order of summing.

    Every number of a filter becomes a multiple of one power of two, small but such that float16 holds all of them and
    float32 every sum of their products with half levels. What a plane sums to is rounded as a whole, and of its numbers
    those nearest to it are rounded up until that is their sum: planes of SRM's and of Bayar's filters sum to 0 before
    and after. Filters rounded number by number would let more of the contents through than traces are. What is rounded
    already stays as it is. One number far above all others costs its filter the small ones.
    """
    flat = weight.flatten(1).abs()
    finest = torch.maximum(flat.amax(1) / MOST_STEPS, flat.sum(1) / MOST_IN_ALL).clamp(min=SMALLEST_HALF)
    mantissa, exponent = torch.frexp(finest)
    step = torch.exp2((exponent - (mantissa == 0.5).to(exponent)).to(weight.dtype))[:, None, None, None]
    rounded = _planes_in(step, weight)
    in_all = rounded.abs().sum((1, 2, 3), keepdim=True)
    return torch.where(in_all > MOST_IN_ALL * step, _planes_in(2 * step, weight), rounded)


def _planes_in(step: Tensor, weight: Tensor) -> Tensor:
    """Multiples of ``step``, ``[O, 1, 1, 1]``, next to every number; planes have the sum that is next to theirs."""
    planes = (weight / step).flatten(2)
    lower = planes.floor()
    missing = planes.sum(2, keepdim=True).round() - lower.sum(2, keepdim=True)
    rank = (planes - lower).argsort(dim=2, descending=True, stable=True).argsort(dim=2)
    return (lower + (rank < missing)).reshape(weight.shape) * step


class CombinedConv(nn.Module):
    """``free`` filters, nine of SRM, three of Bayar, in this order; 5x5, no bias, mirrored borders.

    Bayar's filters start as averages of random weights: around a random sum of either sign, as the authors start them,
    the constraint divides by numbers near zero. :meth:`constrain` has to follow every step of the optimiser.
    """

    def __init__(self, free: int) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.empty(free, 3, SIDE, SIDE))
        self.bayar = nn.Parameter(torch.rand(BAYAR_FILTERS, 3, SIDE, SIDE))
        self.register_buffer("srm", srm(), persistent=False)
        nn.init.xavier_uniform_(self.free)
        self.constrain()

    def constrain(self) -> None:
        """Bring Bayar's filters back under their constraint."""
        constrain_bayar(self.bayar)

    @property
    def divisors(self) -> Tensor:
        """What every filter was divided by to be what it is, ``[free + 12]``; 1 where it was never whole."""
        ones = torch.ones_like
        whole = torch.tensor(SRM_DIVISORS).repeat_interleave(3).to(self.free)
        return torch.cat([ones(self.free[:, 0, 0, 0]), whole, ones(self.bayar[:, 0, 0, 0])])

    @property
    def weight(self) -> Tensor:
        """All filters, ``[free + 12, 3, 5, 5]``."""
        return torch.cat([self.free, self.srm.to(self.free.dtype), self.bayar])

    def forward(self, x: Tensor) -> Tensor:
        """``[N, 3, H, W]`` to ``[N, free + 12, H, W]``."""
        return F.conv2d(symmetric(x, SIDE // 2), self.weight)


class WholeStepsConv(nn.Conv2d):
    """The filters of a :class:`CombinedConv` for inference, whatever they are scaled by; 5x5, mirrored borders.

    Of pixels in whole or half grey levels they return, once rounded, the very same however products are summed.
    """

    def __init__(self, filters: int) -> None:
        super().__init__(3, filters, SIDE, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, 3, H, W]`` to ``[N, filters, H, W]``."""
        return super().forward(symmetric(x, SIDE // 2))

    @torch.no_grad()
    def round_to_halves(self) -> None:
        """:func:`in_whole_steps`, in place."""
        self.weight.copy_(in_whole_steps(self.weight))
