"""Batch normalisation folded into the convolutions before it, for inference."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold(module: nn.Module) -> None:
    """Fold every batch normalisation in ``module`` into the convolution registered just before it beside it.

    In place and in evaluation mode; what was folded becomes an identity. The function stays the same up to rounding.
    """
    for part in list(module.modules()):
        _fold_children(part)


def _fold_children(module: nn.Module) -> None:
    previous: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and previous and isinstance(previous[1], nn.Conv2d):
            setattr(module, previous[0], fuse_conv_bn_eval(previous[1], child))
            setattr(module, name, nn.Identity())
        previous = name, child
