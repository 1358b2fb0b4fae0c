"""Batch normalisation folded into the convolutions before it, for inference; and, to train on, out of them again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of every convolution and of the batch normalisation registered just after it beside it."""
    for path, part in module.named_modules():
        children = list(part.named_children())
        for (conv, first), (norm, second) in pairwise(children):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                yield f"{path}.{conv}".lstrip("."), f"{path}.{norm}".lstrip(".")


def fold(module: nn.Module) -> None:
    """Fold every batch normalisation in ``module`` into the convolution registered just before it beside it.

    In place and in evaluation mode; what was folded becomes an identity. The function stays the same up to rounding.
    """
    for conv, norm in list(pairs(module)):
        first, second = module.get_submodule(conv), module.get_submodule(norm)
        assert isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d)
        module.set_submodule(conv, fuse_conv_bn_eval(first, second))
        module.set_submodule(norm, nn.Identity())


@torch.no_grad()
def unfold(norm: nn.BatchNorm2d, bias: Tensor, mean: Tensor, variance: Tensor) -> None:
    """Let ``norm`` normalise by statistics of what comes to it, ``[C]`` each, and add ``bias`` and nothing else.

    The other way round of :func:`fold` for a convolution without a bias, into which ``norm`` was folded: which scale
    it had is forgotten, so it takes the one that keeps the function, in training too as far as the statistics hold.
    """
    norm.running_mean, norm.running_var = mean.clone(), variance.clone()
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(bias + mean)
