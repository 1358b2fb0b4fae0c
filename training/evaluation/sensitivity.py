"""How slight a manipulation may be and still be seen: ManTra-Net's figure 4 (a).

Wu, AbdAlmageed, Natarajan, "ManTra-Net", CVPR 2019, section 5.2: samples are synthesised with one manipulation and one
parameter from 5,000 patches, and the model's AUC on them is one point of a curve. Here the same patches and the same
masks serve every point, so that a curve shows the parameter alone; nothing is done to a patch afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from training.data import Photographs
from training.evaluation.items import SEED, Item, Truth
from training.synthesis.hierarchy import LEAVES
from training.synthesis.manipulations import manipulated
from training.synthesis.sample import Frame
from training.synthesis.shapes import region

OPERATIONS = {
    "Gaussian blur": "kernel, px", "box blur": "kernel, px", "median blur": "kernel, px",
    "Gaussian noise": "deviation, grey levels", "uniform noise": "half-width, grey levels",
    "linear": "scale, down and back", "JPEG": "quality", "WebP": "quality",
}  # fmt: skip
"""Operations of one ordered parameter that make a curve, with its meaning; the text names noise, blurs, compression."""


@dataclass(frozen=True, slots=True)
class Point:
    """One manipulation with one parameter, and the patches that it was done to."""

    leaf: int
    items: Sequence[Item]

    @property
    def name(self) -> str:
        """Operation and parameter."""
        return f"{LEAVES[self.leaf].operation} {LEAVES[self.leaf].parameters[0]:g}"

    def to_dict(self) -> dict[str, object]:
        """What it is, in JSON types, as curves want it."""
        leaf = LEAVES[self.leaf]
        return {"name": self.name, "family": leaf.operation, "parameter": leaf.parameters[0]}


def points(photographs: Path, *, count: int, size: int, seed: int = SEED) -> Iterator[Point]:
    """Every parameter of every operation, each on the same ``count`` held-out patches of ``size`` px."""
    source = Photographs(photographs, "validation")
    for number, leaf in sorted(enumerate(LEAVES), key=lambda pair: (pair[1].operation, pair[1].parameters)):
        if leaf.operation in OPERATIONS:
            made = partial(_patch, source, number, size=size, seed=seed)
            items = [
                Item(f"patch {index}", partial(made, index), group="patches", label=True) for index in range(count)
            ]
            yield Point(number, items)


def _patch(source: Photographs, leaf: int, index: int, *, size: int, seed: int) -> tuple[Frame, Truth]:
    rng = np.random.default_rng((seed, index))
    base = source.crop(rng, size)
    mask, _ = region(size, rng, labels=base.labels)
    return np.where(mask[..., None], manipulated(base.frame, leaf, rng), base.frame), mask
