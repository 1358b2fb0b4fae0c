"""One function per loss, on logits and boolean masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

CLASS_WEIGHTS = (4.0, 4.0 / 3.0)
"""Authentic, manipulated: the inverse of their share (a quarter, three quarters) of the samples."""


def shrink_mask(
    mask: Tensor,  # bool [N, H, W]
    grid: int,
) -> Tensor:  # float32 [N, grid, grid], 0 or 1
    """The mask on a coarser grid: 1 where more than half of a cell's area is manipulated.

    Where no cell passes a half, those with the most of it (ties included) are 1, so that no region is lost.
    """
    area = F.adaptive_avg_pool2d(mask[:, None].float(), grid)[:, 0]
    most = area.amax((1, 2), keepdim=True)
    return ((area > 0.5) | ((most <= 0.5) & (area == most) & (most > 0))).float()


def balanced_bce(
    logits: Tensor,  # [N, g, g]
    target: Tensor,  # [N, g, g], 0 or 1
) -> Tensor:
    """Binary cross-entropy in which both classes of an image weigh half, mean over images.

    For an image with a share ``p`` of manipulated pixels, ``mean(w * bce)`` with ``w = 0.5 / p`` on manipulated and
    ``0.5 / (1 - p)`` on authentic pixels; images of one class only have ``w = 1``. The authors balance over the whole
    batch instead, which lets an image with a large region outweigh the others.
    """
    logits = logits.float()
    share = target.mean((1, 2), keepdim=True)
    weight = torch.where(target > 0, 0.5 / share.clamp(min=1e-6), 0.5 / (1 - share).clamp(min=1e-6))
    weight = torch.where((share > 0) & (share < 1), weight, torch.ones_like(weight))
    return (weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).mean()


def detection(
    margin: Tensor,  # [N], the logit of "manipulated"
    manipulated: Tensor,  # bool [N]
) -> Tensor:
    """Binary cross-entropy of a frame's score, mean over frames."""
    return F.binary_cross_entropy_with_logits(margin.float(), manipulated.float())


def two_class(
    logits: Tensor,  # [N, 2]
    label: Tensor,  # int64 [N], 1 = manipulated
) -> Tensor:
    """Cross-entropy weighted by ``CLASS_WEIGHTS``: ``sum(w_y ce) / sum(w_y)``."""
    return F.cross_entropy(logits.float(), label, weight=torch.tensor(CLASS_WEIGHTS, device=logits.device))


def psccnet(
    masks: Sequence[Tensor],  # logits, each [N, g, g]
    score: Tensor,  # logits [N, 2]
    truth: Tensor,  # bool [N, H, W]
) -> tuple[Tensor, Tensor]:
    """The sum of the scales' balanced cross-entropies, and the detection loss: equation 5 as the authors code it."""
    localisation = torch.stack([balanced_bce(mask, shrink_mask(truth, mask.shape[-1])) for mask in masks])
    return localisation.sum(), two_class(score, truth.flatten(1).any(1).long())
