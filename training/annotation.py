"""What MAG's annotator is to say of a frame, and the losses of its four networks, equations 1 to 8.

Kniaz, Knyaz, Remondino, "The Point Where Reality Meets Fantasy: Mixed Adversarial Generators for Image Splice
Detection", NeurIPS 2019, section 3. An annotation is ``[N, 1 + edge + K, H, W]`` in [0, 1]: the mask, the edges of the
mask where they are annotated, one map per class. Norms are means over pixels, as in the authors' code; expectations are
means over frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

UNKNOWN = 255
"""Class of every pixel of a frame whose objects nobody has named."""
EDGE = 1
"""How far an edge reaches to either side, px."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """Weights of the losses; the defaults are the paper's."""

    semantic: float = 10.0
    """Of :func:`semantic` in the retoucher's loss, equation 5."""
    hiding: float = 10.0
    """Of :func:`hiding` there."""
    realism: float = 0.25
    """Of the adversary D_R there."""
    identity: float = 0.0
    """Of the mean change of a pixel there, 0 to 1: not in the paper, 20 by the authors' default, 2 in their script.

    Without it a retoucher that learns for hours and not for weeks paints whole frames over.
    """
    balanced: float = 1.0
    """Of :func:`balanced` in the annotator's loss, equation 8."""
    entropy: float = 0.0
    """Of :func:`balanced_entropy` beside it: not in the paper.

    Equation 6 has no slope where the annotator is sure, and every constant answer costs the same: fresh weights soon
    say nothing everywhere and stay there.
    """
    plausible: float = 1.0
    """Of the adversary D_A there.

    A narrow annotator's D_A soon wins outright; its slope is then the longest by far, and clipping leaves little of the
    others. With 0.02 mag-lite learns. Without a retoucher 0 leaves D_A out.
    """
    outline: float = 1.0
    """Of the edges in both, beside the mask's 1; the authors' code has 4, and 0.4 with classes."""
    score: float = 0.0
    """Of the cross-entropy of the frame's score on all that is annotated: not in the paper, which has no score."""


def edges(mask: Tensor) -> Tensor:  # [N, H, W] in 0, 1, float
    """1 up to :data:`EDGE` px inside and outside of the mask's border; the frame's border is none."""
    side = 2 * EDGE + 1
    grown, shrunk = (F.max_pool2d(x[:, None], side, 1, EDGE)[:, 0] for x in (mask, -mask))
    return grown + shrunk


def annotation(
    mask: Tensor,  # bool [N, H, W]
    classes: Tensor,  # uint8 [N, H, W]: 0 none, 1 to K, UNKNOWN
    *,
    count: int,
    edge: bool = True,
) -> Tensor:  # float32 [N, 1 + edge + count, H, W]
    """C' of section 3.2: objects are only annotated where the frame is authentic."""
    area = mask.float()
    maps = (classes[:, None] == torch.arange(1, count + 1, device=mask.device)[:, None, None]) & ~mask[:, None]
    return torch.cat([area[:, None], *([edges(area)[:, None]] if edge else []), maps.float()], dim=1)


def known(
    classes: Tensor,  # uint8 [N, H, W]
    *,
    count: int,
    edge: bool = True,
) -> Tensor:  # float32 [N, 1 + edge + count]
    """1 for channels that are supervised: mask and edge always, classes where somebody has named them."""
    named = (classes != UNKNOWN).flatten(1).any(1).float()
    always = torch.ones(len(classes), 1 + edge, device=classes.device)
    return torch.cat([always, named[:, None].expand(-1, count)], dim=1)


def balanced(
    logits: Tensor,  # [N, C, H, W]
    truth: Tensor,  # [N, C, H, W] in [0, 1]
    supervised: Tensor,  # [N, C], 0 or 1
) -> Tensor:
    """Equation 6: ``sum_i |C_i (1 - A_i)| / |C_i| + |(1 - C_i) A_i| / |1 - C_i|`` with ``A = sigmoid(logits)``.

    A channel with nothing on one side has an area of 1 px there, as in the authors' code.
    """
    predicted = torch.sigmoid(logits.float())
    return _both_sides(1 - predicted, predicted, truth=truth, supervised=supervised)


def balanced_entropy(
    logits: Tensor,  # [N, C, H, W]
    truth: Tensor,  # [N, C, H, W] in [0, 1]
    supervised: Tensor,  # [N, C], 0 or 1
) -> Tensor:
    """Equation 6 with ``-log(A_i)`` and ``-log(1 - A_i)`` in place of ``1 - A_i`` and ``A_i``."""
    logits = logits.float()
    return _both_sides(F.softplus(-logits), F.softplus(logits), truth=truth, supervised=supervised)


def _both_sides(missed: Tensor, invented: Tensor, *, truth: Tensor, supervised: Tensor) -> Tensor:
    """The mean of what is missed inside of ``truth`` and of what is invented outside, summed over channels."""
    inside, outside = (
        (side * cost).sum((2, 3)) / side.sum((2, 3)).clamp(min=1)
        for side, cost in ((truth, missed), (1 - truth, invented))
    )
    return ((inside + outside) * supervised).sum(1).mean()


def semantic(
    logits: Tensor,  # [N, K, H, W]
    truth: Tensor,  # [N, K, H, W]
    counted: Tensor,  # [N, H, W], 0 or 1
) -> Tensor:
    """Equation 2: ``|C_s - A_s|`` over all classes of the retouched frame, mean over its pixels that are ``counted``.

    What class a pasted object has is not known here, so frames count where they are authentic and somebody named them.
    """
    if not logits.shape[1]:
        return logits.new_zeros(())
    apart = (torch.sigmoid(logits.float()) - truth).abs().sum(1)
    return ((apart * counted).sum((1, 2)) / counted.sum((1, 2)).clamp(min=1)).mean()


def hiding(mask_logits: Tensor) -> Tensor:  # [N, H, W]
    """Equation 3: ``|0 - A_m|``, what the annotator still finds in the retouched frame."""
    return torch.sigmoid(mask_logits.float()).mean()


def convincing(logits: Tensor) -> Tensor:
    """Equations 4 and 7, what a generator minimises: ``-log D`` in place of ``log(1 - D)``, as in the authors' code.

    The two have their minimum in the same place; the paper's has no slope where the discriminator is sure.
    """
    return F.softplus(-logits.float()).mean()


def telling(real: Tensor, made: Tensor) -> Tensor:
    """What a discriminator minimises: half the cross-entropy on real patches and half that on made ones."""
    return (F.softplus(-real.float()).mean() + F.softplus(made.float()).mean()) / 2
