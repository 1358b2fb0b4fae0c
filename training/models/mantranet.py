"""ManTra-Net: traces of manipulation, and where they differ from their surroundings.

Yue Wu, Wael AbdAlmageed, Premkumar Natarajan, "ManTra-Net: Manipulation Tracing Network for Detection and Localization
of Image Forgeries With Anomalous Features", CVPR 2019; the authors' public model definition where the paper is silent.

Where the two differ, the defaults are the released weights': widths of figure 2 (``body="table5"`` for the table),
absolute Z-scores (``magnitude=False`` for equations 2 to 7), windows from near to far (``order="far-to-near"`` for the
text of section 4.1), and a floor of 1e-6 + w under the deviation where equation 5 has 1e-5. The deviation is the
frame's for every window, as equation 4 has it. The score of a frame is the mean of its heatmap (section 5.1), or with
``score="weighted"``, which is ours, that mean weighted by the heatmap: a small forgery in a large frame then counts.

Where we differ: the projection comes before the division by the traces' length, which is one number per pixel, so that
256 normalised channels are never written; see also :class:`training.nn.residuals.CombinedConv`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from kernels.zpool2d.functional import check_windows, statistics, zpool2d, zscores
from training.nn import scores
from training.nn.convlstm import ConvLSTM
from training.nn.detector import Detector
from training.nn.precision import full_precision
from training.nn.residuals import WholeStepsConv, constrain_bayar
from training.nn.vgg import BLOCKS, BODIES, Extractor, inverse_length

Step = TypeVar("Step")

CITATION = "Wu, AbdAlmageed, Natarajan: ManTra-Net, CVPR 2019, doi:10.1109/CVPR.2019.00977"
UNITS = 8
SCORES = {"mean": scores.mean, "weighted": scores.weighted}
KERNEL = 7
"""Side of the kernels that judge Z-scores, px."""
STD_FLOOR = 1e-6
"""Added to the learned floor under the deviation."""
SMALLEST_FLOOR = 2.0**-10
"""To this a floor is scaled up, with its channel, where weights are stored as halves (:func:`simplified`)."""
HEADROOM = 2.0**-9
"""By so much traces are smaller in a simplified network than as they were learned."""
PIXELS_SHARE = 128
"""Filters of the first layer are divided by it in a simplified network, whose pixels come 127.5 times as large."""
OF_SIGNED = 2 * PIXELS_SHARE / 255
"""What the first layer of the network returns over what that of a simplified one does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What can be chosen about ManTra-Net; the defaults are the released model (index 4)."""

    body: Literal["released", "table5", "lite"] = "released"
    """Widths of the extractor (see the module)."""
    halvings: int = 0
    """How often the extractor halves the frame, 0 to 3; ours, and 0 in the paper. Traces, Z-scores and the mask are
    those of every second, fourth or eighth row and column then, windows reach as many times as far, and a frame costs a
    fraction."""
    channels: int = 64
    """Channels to which its traces are projected, and in which anomalies are looked for."""
    free: int = 4
    """Free filters of the first layer, beside 9 of SRM and 3 of Bayar; 20 in the released models 0 and 1."""
    bounded: bool = False
    """Whether traces pass tanh before they are normalised: the released model 0."""
    windows: str = "7-15-31"
    """Sides of the windows of the Z-scores, px, odd; the frame follows. "7-15-31-63" in the released models 0 to 3."""
    magnitude: bool = True
    """Absolute Z-scores, as released; False keeps their sign, as in the paper."""
    order: Literal["near-to-far", "far-to-near"] = "near-to-far"
    """Whether the smallest window is judged first, as released, or the frame."""
    score: Literal["mean", "weighted"] = "mean"
    """How a frame's score is read off its heatmap."""

    def __post_init__(self) -> None:
        if self.body not in BODIES or self.order not in {"near-to-far", "far-to-near"}:
            raise ValueError(
                f"body is {self.body!r} and order {self.order!r}\n"
                "  -> use 'released', 'table5' or 'lite', and 'near-to-far' or 'far-to-near'"
            )
        if not re.fullmatch(r"\d+(-\d+)*", self.windows):
            raise ValueError(f"windows is {self.windows!r}\n  -> write sides in px with dashes: '7-15-31'")
        check_windows(self.sides)
        if not 0 <= self.halvings <= len(BLOCKS):
            raise ValueError(f"halvings is {self.halvings}\n  -> use 0, as in the paper, or up to {len(BLOCKS)}")
        if self.channels < 1:
            raise ValueError(f"channels is {self.channels}\n  -> use at least 1, 64 in the released model")
        if self.free < 1:
            raise ValueError(f"free is {self.free}\n  -> use at least 1 free filter, 4 in the released model")
        if self.score not in SCORES:
            raise ValueError(f"score is {self.score!r}\n  -> use 'mean', as in the paper, or 'weighted'")

    @property
    def sides(self) -> tuple[int, ...]:
        """The windows as numbers."""
        return tuple(int(side) for side in self.windows.split("-"))


VARIANTS = {"mantranet-lite": {"body": "lite", "channels": 32, "halvings": 3, "magnitude": False, "score": "weighted"}}
"""Models of their own that are settings of this one."""


class ZPool(nn.Module):
    """Normalised channels to Z-scores, with a learned floor under the deviation.

    ``norm`` has neither scale nor shift; ``min_std`` is the learned part of the floor, at least 0.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.BatchNorm2d(config.channels, eps=1e-3, momentum=0.01, affine=False)
        self.min_std = nn.Parameter(torch.full((config.channels,), 1e-5))

    @property
    def floor(self) -> Tensor:
        """The least deviation of every channel, ``[C]``."""
        return STD_FLOOR + self.min_std

    def in_order(self, steps: list[Step]) -> list[Step]:
        """What belongs to the windows and then to the frame, in the order in which it is judged."""
        return steps if self.config.order == "near-to-far" else steps[::-1]

    def forward(self, x: Tensor) -> list[Tensor]:
        """``[N, C, H, W]`` to T Z-scores of the same shape (equations 5 to 7)."""
        z = zpool2d(self.norm(x), self.floor, self.config.sides, magnitude=self.config.magnitude)
        return self.in_order(list(z.unbind(1)))

    def given(self, x: Tensor, mean: Tensor, variance: Tensor) -> list[Tensor]:
        """:meth:`forward` on a tile, with mean and variance ``[N, C]`` of the frame's normalised channels."""
        settings = {"windows": self.config.sides, "magnitude": self.config.magnitude}
        return self.in_order(list(zscores(self.norm(x), mean, variance, self.floor, **settings).unbind(1)))


class ManTraNet(nn.Module):
    """Extractor, projection, Z-scores, far-to-near analysis; input float ``[N, 3, H, W]`` in [0, 1], any H and W."""

    takes_levels = False
    """Whether :meth:`local` takes pixels in 0..255, as a simplified copy does."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.extractor = Extractor(config.body, config.free, bounded=config.bounded, halvings=config.halvings)
        self.adapt = nn.Conv2d(self.extractor.features, config.channels, 1, bias=False)
        self.scale: nn.Module = nn.Identity()  # of channels, in a simplified copy
        self.zpool = ZPool(config)
        self.lstm = ConvLSTM(config.channels, UNITS, KERNEL)
        self.head = nn.Conv2d(UNITS, 1, KERNEL, padding=KERNEL // 2)
        for conv in (self.adapt, self.head):
            nn.init.xavier_uniform_(conv.weight)
        nn.init.zeros_(self.head.bias)
        self.constrain()

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring weights back under their constraints; has to follow every step of the optimiser.

        Bayar's filters; projections of unit length; floors that are not negative.
        """
        self.extractor.first.constrain()
        self.adapt.weight /= self.adapt.weight.norm(dim=1, keepdim=True).clamp(min=1e-7)
        self.zpool.min_std.clamp_(min=0)

    @property
    def reach(self) -> tuple[int, int]:
        """Halo and alignment, px of the frame, with which :meth:`local` is exact on tiles."""
        return self.extractor.halo, 2 * self.extractor.stride

    @property
    def answer_halo(self) -> int:
        """Halo, pixels of the map that :meth:`local` makes, with which :meth:`answer` is exact on tiles of it.

        A step reaches over half its window (the frame's has none on a tile) and one kernel, one kernel more for each
        step after it, and the head's.
        """
        halves = self.zpool.in_order([*(side // 2 for side in self.config.sides), 0])
        steps = [half + (len(halves) - index) * (KERNEL // 2) for index, half in enumerate(halves)]
        return max(steps) + KERNEL // 2

    @property
    def headroom(self) -> float:
        """What traces are multiplied by in a simplified copy."""
        return 1.0 if self.extractor.bounded else HEADROOM

    def local(self, x: Tensor) -> list[Tensor]:
        """Traces of unit length projected to fewer channels."""
        return [self.project(self.extractor.raw(x))]

    def project(self, raw: Tensor) -> Tensor:
        """Traces before they are normalised to channels of normalised ones, in full precision also under autocast.

        Z-scores are about small differences between large values, which bfloat16 would round away.
        """
        raw = raw.to(self.adapt.weight.dtype)
        with full_precision(raw.device.type):
            return self.scale(self.adapt(raw) * inverse_length(raw))

    def rest(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Class logits ``[N, 2]`` and mask logits ``[N, 1, h, w]`` of the map's size: the frame's, or a fraction."""
        mask = self.head(self.lstm(self.zpool(maps[0])))
        return self.conclude(mask), [mask]

    def locate(self, features: list[Tensor]) -> list[Tensor]:
        """Mask logits as they are."""
        return features

    def moments(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Mean and variance ``[N, C]`` over the frame: all that an answer needs of what is far away."""
        return statistics(self.zpool.norm(maps[0]))

    def answer(self, maps: list[Tensor], mean: Tensor, variance: Tensor) -> Tensor:
        """Mask logits ``[N, 1, h, w]`` of a tile of a frame with these moments."""
        return self.head(self.lstm(self.zpool.given(maps[0], mean, variance)))

    def conclude(self, mask: Tensor) -> Tensor:
        """Mask logits to class logits ``[N, 2]``, as ``score`` says (:mod:`training.nn.scores`)."""
        return SCORES[self.config.score](mask)

    def simplified(self) -> ManTraNet:
        """:func:`simplified`."""
        return simplified(self)

    @torch.no_grad()
    def unsimplified(
        self, state: Mapping[str, Tensor], statistics: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        """The ``state`` of a :func:`simplified` copy by the names here, under every constraint again.

        Projections of unit length are normalised by ``statistics["zpool.norm"]``, mean and variance ``[C]`` of the
        copy's channels, and the floors follow: Z-scores are the same with any.
        """
        known, first = dict(state), self.extractor.first
        weight = known.pop("extractor.first.weight") * PIXELS_SHARE
        known["extractor.first.free"] = weight[: len(first.free)]
        known["extractor.first.bayar"] = weight[-len(first.bayar) :].clone()
        constrain_bayar(known["extractor.first.bayar"])
        headroom = self.headroom
        undone = first.divisors[:, None, None] / (headroom * OF_SIGNED)
        known["extractor.body.0.weight"] = known["extractor.body.0.weight"] * undone
        known |= {name: bias / headroom for name, bias in known.items() if _is_of_traces(name)}
        length = known["adapt.weight"].flatten(1).norm(dim=1)
        known["adapt.weight"] = known["adapt.weight"] / length[:, None, None, None]
        length = length * known.pop("scale.factors").flatten()
        mean, variance = statistics["zpool.norm"]
        known["zpool.norm.running_mean"] = mean / length
        variance = variance / length.square()
        known["zpool.norm.running_var"] = variance
        known["zpool.norm.num_batches_tracked"] = torch.tensor(0)
        floor = known["zpool.min_std"] / (length * (variance + self.zpool.norm.eps).sqrt())
        known["zpool.min_std"] = (floor - STD_FLOOR).clamp(min=0)
        return known


def _is_of_traces(name: str) -> bool:
    """Whether the parameter ``name`` is a bias of the extractor after its first layer."""
    return name.startswith("extractor.") and name.endswith(".bias")


@torch.no_grad()
def simplified(net: ManTraNet) -> ManTraNet:
    """A copy for inference that answers the same with less.

    Pixels are not brought to [-1, 1] but to 127.5 levels on either side of 0, and filters of the first layer to a 128th
    of what they were, SRM's to a 128th of whole numbers; the next layer makes up for it. Rounded as they ask to be
    (:class:`training.nn.residuals.WholeStepsConv`), they cancel the contents of a frame at native size exactly.

    Traces are brought down by a power of two with the first weights and all biases after them, which their division by
    their length undoes: those of saturated frames overflow in float16 as they were learned. tanh would not let it pass.

    Normalisation goes: Z-scores do not change with scale and shift, so it is enough to lower the floor by the scale.
    For the same reason a channel may be scaled by a power of two, which brings floors far below one to where float16
    can hold them. That comes after the traces' length, which is at least that of their projection: no channel exceeds
    its scale, where before it float16 would overflow.
    """
    copied = copy.deepcopy(net).eval()
    extractor, zpool = copied.extractor, copied.zpool
    divisors = extractor.first.divisors
    weight = extractor.first.weight * divisors[:, None, None, None]
    headroom = net.headroom
    extractor.body[0].weight.div_(divisors[:, None, None]).mul_(headroom * OF_SIGNED)
    for conv in (*extractor.body, extractor.last):
        conv.bias.mul_(headroom)
    extractor.first = WholeStepsConv(len(weight)).to(weight)
    extractor.first.weight.copy_(weight / PIXELS_SHARE)
    extractor.range = Centred()
    copied.takes_levels = True
    floor = zpool.floor * (zpool.norm.running_var + zpool.norm.eps).sqrt()
    scale = torch.exp2(torch.log2(SMALLEST_FLOOR / floor).ceil().clamp(min=0))
    copied.scale = Scale(scale)
    copied.zpool = FoldedZPool(zpool.config, floor * scale)
    return copied


class Centred(nn.Module):
    """[0, 255] to [-127.5, 127.5]; exact of whole and half levels."""

    def forward(self, x: Tensor) -> Tensor:
        """``x - 127.5``."""
        return x - 127.5


class Scale(nn.Module):
    """``[N, C, H, W]`` by one factor for every channel, ``[C]``.

    They are kept as ``[C, 1, 1]``, or an exported graph would hold them so, and under another name.
    """

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.factors = nn.Parameter(factors[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """The scaled channels."""
        return x * self.factors


class FoldedZPool(ZPool):
    """:class:`ZPool` of channels that need no normalisation, with the whole floor as its parameter."""

    def __init__(self, config: Config, floor: Tensor) -> None:
        super().__init__(config)
        self.norm = nn.Identity()
        self.min_std = nn.Parameter(floor)

    @property
    def floor(self) -> Tensor:
        """The least deviation of every channel, ``[C]``."""
        return self.min_std


def build(config: Config) -> Detector:
    """ManTra-Net with fresh weights, pixels in and probabilities out."""
    return Detector(ManTraNet(config), asdict(config), citation=CITATION)
