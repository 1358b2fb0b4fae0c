"""Bilinear enlarging for graphs that a CPU runs: OpenVINO's Resize takes most of a localisation's time."""

from __future__ import annotations

import torch
from torch import Tensor


def enlarged(
    probability: Tensor,  # [N, g, k]
    height: Tensor,  # int64 []
    width: Tensor,  # int64 []
) -> Tensor:  # [N, height, width]
    """``probability``, corners aligned: what :meth:`training.nn.detector.Detector.heatmap` makes of it.

    First along the short rows of the mask, then by adding whole rows of the frame.
    """
    lines = _between(probability.transpose(1, 2), width).transpose(1, 2)
    return _between(lines, height)


def _between(
    x: Tensor,  # [N, size, M]
    target: Tensor,  # int64 []
) -> Tensor:  # [N, target, M]
    """Rows evenly from the first row of ``x`` to the last, each between two.

    Row i lies at i (size - 1) / (target - 1), of which the whole part is reckoned apart: products stay small, because
    OpenVINO reckons with integers in float32.
    """
    gaps, steps = x.shape[1] - 1, (target - 1).clamp(min=1)
    row = torch.arange(target.item(), dtype=torch.int64)
    whole = torch.full_like(steps, gaps) // steps  # the exporter divides no plain number
    parts = row * (gaps - whole * steps)
    carried = parts // steps
    before = row * whole + carried
    after = (before + 1).clamp(max=gaps)
    share = (parts - carried * steps).to(torch.float32) / steps
    first = torch.index_select(x, 1, before)
    return first + share[:, None] * (torch.index_select(x, 1, after) - first)
