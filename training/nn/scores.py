"""Scores of a frame that are read off its heatmap, of networks that learn none."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-6
"""A mean probability is kept this far from 0 and 1 where its logit is taken."""
WEIGHTED_FLOOR = 1e-4
"""A mean that is weighted by itself is kept this far from them, and its weights' mean from 0."""


def mean(mask: Tensor) -> Tensor:
    """Mask logits ``[N, 1, H, W]`` to class logits ``[N, 2]``: 0, and the logit of the mean probability."""
    return _logits(_mean(_probability(mask)), floor=FLOOR)


def weighted(mask: Tensor) -> Tensor:
    """Mask logits ``[N, 1, H, W]`` to class logits ``[N, 2]``: 0, and the logit of ``mean(p^2) / mean(p)``.

    The mean of the heatmap p weighted by itself: the probability at a pixel drawn where manipulation is suspected,
    whatever the region's size.
    """
    probability = _probability(mask)
    return _logits(_mean(probability.square()) / _mean(probability).clamp(min=WEIGHTED_FLOOR), floor=WEIGHTED_FLOOR)


def _probability(mask: Tensor) -> Tensor:
    return torch.sigmoid(mask[:, 0].float())


def _mean(values: Tensor) -> Tensor:
    """Row by row: over all pixels of a large frame at once, a runtime that adds one by one is off by 1e-4."""
    return values.mean(2).mean(1)


def _logits(score: Tensor, *, floor: float) -> Tensor:
    logit = torch.logit(score, eps=floor)
    return torch.stack([torch.zeros_like(logit), logit], dim=1)
