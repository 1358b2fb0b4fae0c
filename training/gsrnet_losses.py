"""GSR-Net's images and losses: equations 1 and 3 to 9, on frames ``[N, 3, H, W]`` in grey levels 0..255.

Zhou et al., "Generate, Segment, and Refine", AAAI 2020, section 3; masks are ``[N, 1, H, W]``, 0 or 1. Regions are
averaged over their own pixels, as the paper says (the authors' code divides by those of the frame), of the whole batch,
and over colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from training.nn.precision import full_precision

EDGE = 5
"""Side of the square that a mask is dilated and eroded with for its edge, px."""
EDGE_WEIGHTS = (0.3, 0.7)
"""Of pixels off and on the edge, as the authors code it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """Weights of the losses; the defaults are the paper's."""

    background: float = 1.0
    """Of :func:`background` in the generator's loss, equation 7."""
    laplacian: float = 1.0
    """Of :func:`gradient` there."""
    edge: float = 2.0
    """Of :func:`edge` there."""
    deceit: float = 5.0
    """Of :func:`deceit` there."""
    outline: float = 1.0
    """Of :func:`boundary` beside the mask's in the segmenter's loss."""
    score: float = 0.0
    """Of the cross-entropy of the frame's score there: not in the paper, which has none."""


def copied(source: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Copy and paste (equation 1): ``M = K S + (1 - K) T``."""
    return torch.where(mask > 0, source, target)


def refined(target: Tensor, manipulated: Tensor, mask: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor]:
    """The predicted boundary ``P`` overwritten: ``M' = T P + M (1 - P)`` and ``K' = K - K P`` (equations 8, 9)."""
    return torch.where(boundary > 0, target, manipulated), mask * (1 - boundary)


def edge_of(mask: Tensor) -> Tensor:
    """Where the dilation and the erosion of a mask by a square of 5x5 differ; outside the frame there is no edge."""
    dilated, eroded = (sign * F.max_pool2d(sign * mask, EDGE, 1, EDGE // 2) for sign in (1, -1))
    return dilated - eroded


def laplacian(x: Tensor) -> Tensor:
    """A quarter of the sum of the differences to the four neighbours, as the authors scale it; zeros around."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], dtype=x.dtype, device=x.device) / 4
    with full_precision(x.device.type):  # bfloat16 has no grey levels above 128 but every second
        return F.conv2d(x, kernel.expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


def over(mask: Tensor, difference: Tensor) -> Tensor:
    """Mean of ``|difference|`` over the mask's pixels; 0 where it has none."""
    return (difference.abs() * mask).sum() / (difference.shape[1] * mask.sum()).clamp(min=1)


def background(made: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """``L_bg``: what is not manipulated stays (equation 3)."""
    return over(1 - mask, made - target)


def gradient(made: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    """``L_grad``: the region keeps its shapes, whatever its tone (equation 4)."""
    return over(mask, laplacian(made) - laplacian(source))


def edge(made: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    """``L_edge``: so does its edge (equation 5)."""
    return over(edge_of(mask), made - source)


def deceit(judged: Tensor) -> Tensor:
    """``-log D(K, G(K, M))``, the generator's side of equation 6, of the discriminator's logits."""
    return F.softplus(-judged.float()).mean()


def discrimination(real: Tensor, fake: Tensor) -> Tensor:
    """``-log D(K, T) - log(1 - D(K, G(K, M)))``: equation 6 with the missing bracket, of logits."""
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


def generation(
    made: Tensor, source: Tensor, target: Tensor, mask: Tensor, *, judged: Tensor, weights: Weights
) -> dict[str, Tensor]:
    """The terms of ``L_G``, weighted; their sum is equation 7."""
    return {
        "background": weights.background * background(made, target, mask),
        "laplacian": weights.laplacian * gradient(made, source, mask),
        "edge": weights.edge * edge(made, source, mask),
        "deceit": weights.deceit * deceit(judged),
    }


def boundary(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of the edge of ``mask``, its pixels weighted by ``EDGE_WEIGHTS`` and averaged over all."""
    truth = edge_of(mask)
    weight = torch.where(truth > 0, EDGE_WEIGHTS[1], EDGE_WEIGHTS[0])
    return (weight * F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none")).mean()
