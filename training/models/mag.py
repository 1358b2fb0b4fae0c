"""MAG: an annotator of splices that learns against a retoucher who hides them.

Vladimir V. Kniaz, Vladimir Knyaz, Fabio Remondino, "The Point Where Reality Meets Fantasy: Mixed Adversarial Generators
for Image Splice Detection", NeurIPS 2019; the authors' public code where the paper is silent. This is the annotator
G_A, which ships; the retoucher and the two discriminators stay in training (:mod:`training.recipes.mag`).

The defaults are the paper's: one channel per class, ten classes. Where we differ from it: the last function is the
sigmoid of these logits, which is the paper's tanh of half of them brought to [0, 1]; borders as in
:mod:`training.nn.unet_uc`. The paper has no score of a frame. Ours is the mean of the heatmap weighted by the heatmap
(:func:`training.nn.scores.weighted`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from training.nn import scores
from training.nn.deeplab import FrameNorm, bare, block, kaiming
from training.nn.detector import Detector
from training.nn.folding import fold
from training.nn.unet_uc import DoublingConv, UNetUC, see_traces

CITATION = "Kniaz, Knyaz, Remondino: The Point Where Reality Meets Fantasy (MAG), NeurIPS 2019"
DEEPEST = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What can be chosen about MAG; the defaults are the paper's annotator."""

    classes: int = 10
    """K, the object classes that are annotated beside the manipulation; 0 without class labels."""
    edge: bool = True
    """Whether the edges of splices are annotated; with no classes and no edge it has a single task."""
    width: int = 64
    """Channels at half of the frame's size; they double with every halving."""
    widest: int = 512
    """Channels at most."""
    depth: int = 9
    """Halvings: frames are extended to a multiple of ``2 ** depth`` px."""
    dropout: float = 0.5
    """Share of the innermost maps that is dropped in training."""
    traces: bool = False
    """Whether the first convolution, of the stem where there is one, has fixed high-pass filters; not the paper's."""
    refined: int = 0
    """How many sizes, from half of the frame's down, have two more convolutions each; not the paper's (mag-lite)."""
    stem: int = 0
    """Channels of two convolutions at the frame's own size before the first step down; not the paper's (mag-lite).

    They normalise by the frame's own statistics, and learn in minutes what takes the first step down hours.
    """
    of_the_frame: bool = False
    """Whether layers normalise by the frame's own statistics, in training too, instead of by running ones.

    So does the authors' script at test, and in training, where a batch is one frame.
    """

    def __post_init__(self) -> None:
        if self.classes < 0 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"classes is {self.classes} and dropout {self.dropout}\n  -> use 0 or more classes, 0 to below 1"
            )
        if not 0 <= self.refined <= self.depth or self.stem < 0:
            raise ValueError(
                f"refined is {self.refined} and stem {self.stem}\n  -> use 0 to the depth, {self.depth}, and 0 or more"
            )
        if not 2 <= self.depth <= DEEPEST or not 1 <= self.width <= self.widest:
            raise ValueError(
                f"depth is {self.depth}, width {self.width} and widest {self.widest}\n"
                f"  -> use a depth of 2 to {DEEPEST} and a width of 1 to the widest"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at a half, a quarter, an eighth ... of the frame's size."""
        return tuple(min(self.width << level, self.widest) for level in range(self.depth))

    @property
    def channels(self) -> int:
        """Channels of an annotation: mask, edge, classes."""
        return 1 + self.edge + self.classes


VARIANTS = {
    "mag-lite": {
        "width": 24, "widest": 128, "depth": 6, "dropout": 0.0, "traces": True, "refined": 4, "stem": 16,
        "of_the_frame": True,
    }
}  # fmt: skip
"""Models of their own that are settings of this one; not the paper's."""


class Annotator(nn.Module):
    """G_A: mask, edge and class maps; input float ``[N, 3, H, W]`` in [0, 1], any H and W."""

    rounded_apart = True
    """Sums of the weights that are merged are rounded one by one: no weights have quite these sums."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.stem = block(3, config.stem, 2, 1).apply(kaiming) if config.stem else nn.Identity()
        traces = config.traces and not config.stem
        self.unet = UNetUC(
            config.stem or 3, config.channels, widths=config.widths, dropout=config.dropout, traces=traces,
            refined=config.refined, of_the_frame=config.of_the_frame,
        )  # fmt: skip
        if traces:
            see_traces(self.unet.first)

    @property
    def silent(self) -> str:
        """Prefix of the weights that change nothing while they are fresh: a net without them can go on with them."""
        return "unet.refinements."

    @property
    def reach(self) -> tuple[int, int] | None:
        """Halo and alignment, px of the frame, with which :meth:`local` is exact on tiles; a stem sees it whole."""
        return None if self.config.stem else (4, 4)

    def annotate(self, x: Tensor) -> Tensor:
        """Logits of the annotation ``[N, 2 + K, H, W]``: mask, edge, classes (equation 6's order)."""
        return self.unet(self.stem(x))

    def local(self, x: Tensor) -> list[Tensor]:
        """The first convolution, behind the stem: half of the frame's size, rounded up."""
        return [self.unet.first(self.stem(x))]

    def rest(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Class logits ``[N, 2]``, and the annotation's logits at the frame's size, even numbers of px."""
        annotation = self.unet.body(maps[0])
        return self.conclude(annotation[:, :1]), [annotation]

    def locate(self, features: list[Tensor]) -> list[Tensor]:
        """The mask's logits."""
        return [features[0][:, :1]]

    def conclude(self, mask: Tensor) -> Tensor:
        """Mask logits to class logits (:func:`training.nn.scores.weighted`)."""
        return scores.weighted(mask)

    def simplified(self) -> Annotator:
        """:func:`simplified`."""
        return simplified(self)

    @torch.no_grad()
    def unsimplified(self, state: Mapping[str, Tensor], _: object) -> dict[str, Tensor]:
        """The ``state`` of a :func:`simplified` copy by the names here; edge and classes, which it lacks, stay fresh.

        Folded biases stand at their convolutions still (:func:`training.nn.folding.unfold`).
        """
        known, first = dict(state), "unet.first.conv"
        known[f"{first}.weight"] = weight = known[f"{first}.weight"] / 2
        bias = known.pop(f"{first}.bias") + weight.sum((1, 2, 3))
        if isinstance(self.unet.first.norm, nn.BatchNorm2d):  # else nothing was folded in
            known[f"{first}.bias"] = bias
        for name, conv in self.unet.named_modules(prefix="unet"):
            if isinstance(conv, DoublingConv):
                merged = DoublingConv(conv.in_channels, len(known[f"{name}.conv.weight"]) // 4)
                merged.unmerge(known.pop(f"{name}.conv.weight"))
                known[f"{name}.weight"] = torch.cat([merged.weight, conv.weight[merged.out_channels :]])
                if f"{name}.conv.bias" in known:
                    known[f"{name}.bias"] = known.pop(f"{name}.conv.bias")[: conv.out_channels]
        return known


@torch.no_grad()
def simplified(net: Annotator) -> Annotator:
    """A copy for inference that answers the same with less: the mask alone, the pixels' range in the first weights."""
    copied = copy.deepcopy(net).eval()
    first, last = copied.unet.first, copied.unet.last.conv
    weight = first.conv.weight
    first.conv.bias = nn.Parameter(-weight.sum((1, 2, 3)))
    first.conv.weight.copy_(2 * weight)
    first.range = nn.Identity()
    last.weight = nn.Parameter(last.weight[:1].clone())
    last.out_channels = 1
    fold(copied)
    for up in (*copied.unet.up, copied.unet.last):
        up.conv = up.conv.merged()
    bare(copied.stem)
    for part in copied.unet.modules():
        if isinstance(part, FrameNorm):
            part.settle()
    return copied


def build(config: Config) -> Detector:
    """MAG's annotator with fresh weights, pixels in and probabilities out."""
    return Detector(Annotator(config), asdict(config), citation=CITATION)
