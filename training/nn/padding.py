"""Mirrored borders."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def symmetric(
    x: Tensor,  # [N, C, H, W]
    width: int,  # px
) -> Tensor:  # [N, C, H + 2 width, W + 2 width]
    """Mirror at the edge between pixels, so that the edge pixel itself is repeated: ``b a | a b c ... y z | z y``.

    TensorFlow's "symmetric". One pixel wide it is torch's "replicate"; torch's "reflect" mirrors at the edge pixel and
    is never the same. Any size, also below ``width``: the mirrored frame is mirrored again.
    """
    if torch.compiler.is_dynamo_compiling():
        return joined(x, width)
    if width == 1:
        return F.pad(x, (1, 1, 1, 1), mode="replicate")
    for axis in (2, 3):
        x = x.index_select(axis, mirrored(x.shape[axis], width, x.device))
    return x


def mirrored(size: int, width: int, device: torch.device) -> Tensor:
    """Pixels of an axis of ``size`` in the order in which a padded axis shows them, int64 [size + 2 width].

    They repeat after ``2 size``: once forth, once back. Whole periods are added first, because ONNX divides integers
    towards zero and torch downwards.
    """
    period = 2 * size
    place = torch.arange(size + 2 * width, dtype=torch.int64, device=device) + (period - 1) * width
    place = place - place // period * period
    return torch.minimum(place, period - 1 - place)


def joined(x: Tensor, width: int) -> Tensor:
    """:func:`symmetric` of slices and their mirror images, for torch.compile, which fails at gradients of the others.

    Of a "replicate" torch 2.13 takes the gradient to have the frame's layout. That of an index is a scatter, which it
    puts out of bounds on several threads of a CPU where layouts differ: github.com/pytorch/pytorch/issues/191837.
    """
    for axis in (2, 3):
        missing = width
        while missing:  # twice and more where a frame is narrower than its border
            size = x.shape[axis]
            step = min(missing, size)
            before, after = x.narrow(axis, 0, step).flip(axis), x.narrow(axis, size - step, step).flip(axis)
            x = torch.cat([before, x, after], dim=axis)
            missing -= step
    return x
