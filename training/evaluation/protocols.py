"""Named evaluation protocols: which rule of every kind a figure was made under.

Published figures disagree because these rules differ and are rarely said. A protocol says all of them, and travels with
every figure that it makes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal

from training.errors import UnknownName

RULES = ("fixed", "own", "best_set", "best_image", "eer_set", "eer_image")
"""Where a heatmap is cut: at ``Protocol.fixed``; at the predictor's own threshold; at the one threshold whose mean over
the set is best; at each image's best; where the set's pooled pixels have equal error rates; where each image's have."""
MEASURES = ("f1", "mcc", "iou", "ciou")
"""Pixel measures that need a cut; ``ciou`` is the mean of the two classes' IoU."""
AREAS = ("auc", "ap", "p_map", "auc_pooled", "ap_pooled")
"""Pixel measures without a cut; the mean of ``ap`` is what papers call mAP."""
PIXEL = (*AREAS, *(f"{measure}_{rule}" for measure in MEASURES for rule in RULES))
IMAGE = (
    "auc", "ap", "eer", "tpr_at_1", "tpr_at_5", "f1_fixed", "f1_best", "f1_eer",
    "balanced_accuracy_fixed", "balanced_accuracy_best",
    "flagged_manipulated_at_1", "flagged_authentic_at_1", "flagged_manipulated_at_5", "flagged_authentic_at_5",
)  # fmt: skip
"""``tpr_at_1`` is the true-positive rate at 1 % false positives of this set; ``flagged_..._at_1`` is the share that
reaches the threshold which the predictor brings for 1 %, fitted elsewhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """Every rule between an image and a figure."""

    name: str
    source: str
    """Where the rules come from, and how what is not said there was read."""
    pixel: tuple[str, ...] = PIXEL
    image: tuple[str, ...] = IMAGE
    working_size: int | None = None
    """Long side at which a model analyses, px; 0 is the frame's own, None the model's default."""
    squash: int = 0
    """Side to which frames are resized, whatever their shape, before anybody sees them, px; 0 leaves them alone."""
    scored_at: Literal["frame", "analysed"] = "frame"
    """Heatmaps are brought to the frame's own size, or the truth to the size that was analysed (nearest pixel)."""
    reencode: int = 0
    """JPEG quality at which every image is encoded anew before analysis; 0 leaves them alone."""
    inversion: Literal["none", "negate_mostly_forged", "smaller_region", "better_of_two"] = "none"
    """``negate_mostly_forged`` inverts the heatmap where over half of the truth is forged; ``smaller_region`` inverts
    the truth there; ``better_of_two`` takes, for every figure of an image, the better of the heatmap and its inverse
    (sets' thresholds are cut from the one of higher AUC)."""
    permutation: Literal["mag", "huh"] = "huh"
    """For ``p_map``: the higher AP of heatmap and inverse, always (``huh``, as Huh et al., ECCV 2018), or with the
    smaller region as the truth and only where the areas are equal (``mag``)."""
    boundary: int = 0
    """Pixels up to this far from the edge of the truth do not count, px."""
    dilation: int = 1
    """Side of the square that heatmaps are dilated with before they are scored, px, odd; 1 leaves them as they are."""
    smallest: float = 0.0
    """Components of a cut heatmap below this share of the frame are dropped."""
    most_pixels: int = 4_000_000
    """Larger heatmaps are scored on every second (third, ...) row and column."""
    authentic: Literal["excluded", "included"] = "excluded"
    """Whether authentic images enter pixel figures; there F1, IoU and MCC are 0 and areas are not defined."""
    score: Literal["head", "mean"] = "head"
    """An image's score: the model's own, or the heatmap's mean; predictors without a score always take the mean."""
    fixed: float = 0.5
    rounds: int = 1000
    """Resamples of the images behind each 95 % interval."""
    seed: int = 0

    def __post_init__(self) -> None:
        for kind, asked, known in (("pixel", self.pixel, PIXEL), ("image", self.image, IMAGE)):
            for figure in set(asked) - set(known):
                raise UnknownName(f"{kind} figure", figure, known)

    def to_dict(self) -> dict[str, object]:
        """Every rule, in JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        size = {0: "native size", None: "the model's working size"}.get(self.working_size, f"{self.working_size} px")
        if self.squash:
            size = f"{self.squash}x{self.squash} px"
        coded = f", all encoded anew as JPEG {self.reencode}" if self.reencode else ""
        cleaned = f"dilated by {self.dilation} px, " if self.dilation > 1 else ""
        cleaned += f"components below {self.smallest:.1%} dropped, " if self.smallest else ""
        return (
            f"{self.name}: {size}{coded}, scored at the size of the {self.scored_at} image, "
            f"{cleaned}inversion {self.inversion}, p-mAP as {self.permutation}, boundary {self.boundary} px, "
            f"authentic images {self.authentic} in pixel figures, image score by {self.score}, "
            f"95 % intervals from {self.rounds} resamples of the images"
        )


IMDL = Protocol(
    name="imdl",
    source="Ours: nothing inverted, nothing left out, authentic images only in image figures; every rule reported.",
)
REENCODED = replace(
    IMDL,
    name="reencoded",
    reencode=90,
    source="As imdl, after every image was encoded anew at one JPEG quality: what is won on compression alone is lost.",
)
PSCCNET = Protocol(
    name="psccnet",
    source="Liu et al., PSCC-Net, IEEE TCSVT 2022, section IV-A.2: AUC and F1 at the EER threshold, images at their "
    "own size, masks brought back to it. Whether thresholds and averages are per image or per set is not said: both.",
    pixel=("auc", "auc_pooled", "f1_eer_image", "f1_eer_set"),
    image=("auc", "f1_eer", "eer", "tpr_at_1"),
    working_size=0,
)
MANTRANET = Protocol(
    name="mantranet",
    source="Wu et al., ManTra-Net, CVPR 2019, section 5: pixel AUC, the predicted mask negated where more than half "
    "of the truth is forged; an image's score is the mean over its pixels. Averaging is not said: both. Table 7 also "
    "has F1 and says no threshold: 0.5, the set's best and each image's.",
    pixel=("auc", "auc_pooled", "f1_fixed", "f1_best_set", "f1_best_image"),
    image=("auc",),
    working_size=0,
    inversion="negate_mostly_forged",
    score="mean",
)
GSRNET = Protocol(
    name="gsrnet",
    source="Zhou et al., GSR-Net, AAAI 2020, section 4: F1 and MCC at the threshold that is best over the whole data "
    "set, and, as the papers it compares with, best per image: both. 300x300 in, score map brought back.",
    pixel=("f1_best_set", "f1_best_image", "mcc_best_set", "mcc_best_image"),
    image=(),
    working_size=0,
    squash=300,
)
CLEANED = replace(
    GSRNET,
    name="gsrnet_cleaned",
    dilation=5,
    smallest=0.005,
    source="As gsrnet, after the paper's post-processing (section 4.1): dilated, small components dropped. How far and "
    "how small is not said: 5 px of 300, half a percent of the frame.",
)
MAG = Protocol(
    name="mag",
    source="Kniaz et al., The Point Where Reality Meets Fantasy (MAG), NeurIPS 2019, section 4: mAP, p-mAP and cIoU "
    "at 512x512; the smaller region is the tampered one. The cut behind cIoU is not said: 0.5, and best per image.",
    pixel=("ap", "p_map", "ciou_fixed", "ciou_best_image"),
    image=(),
    working_size=0,
    squash=512,
    scored_at="analysed",
    inversion="smaller_region",
    permutation="mag",
)
PROTOCOLS = {protocol.name: protocol for protocol in (IMDL, REENCODED, PSCCNET, MANTRANET, GSRNET, CLEANED, MAG)}


def protocol(name: str) -> Protocol:
    """The protocol of that name."""
    if name not in PROTOCOLS:
        raise UnknownName("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
