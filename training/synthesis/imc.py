"""Samples of the 385 manipulations: patches to classify, and frames manipulated under a mask.

Wu, AbdAlmageed, Natarajan, "ManTra-Net", CVPR 2019, section 2.3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.synthesis import Photographs
from training.synthesis.hierarchy import LEAVES
from training.synthesis.manipulations import manipulated
from training.synthesis.sample import Crop, Frame, Sample
from training.synthesis.shapes import region

MARGIN = 2
"""Side of what is manipulated in sides of the patch that is cut out of it: 256 px for 128."""
FLAT = 32.0
"""Standard deviation in grey levels under which a patch says too little and is drawn again."""
TRIES = 8
UNTOUCHED = next(index for index, leaf in enumerate(LEAVES) if leaf.operation == "none")


def patch(photographs: Photographs, *, seed: int, index: int, size: int) -> tuple[Frame, int]:
    """Patch ``index`` of the endless sequence ``seed``, ``size`` x ``size`` px, and which leaf was done to it.

    A window twice as large is manipulated first, so that a patch has no border that gives its manipulation away.
    """
    rng = np.random.default_rng((seed, index))
    leaf = int(rng.integers(len(LEAVES)))
    for _ in range(TRIES):
        frame = photographs.crop(rng, MARGIN * size).frame
        if frame.std() >= FLAT:
            break
    top, left = (int(rng.integers((MARGIN - 1) * size + 1)) for _ in range(2))
    changed = manipulated(frame, leaf, rng)
    return np.ascontiguousarray(changed[top : top + size, left : left + size]), leaf


def locally(base: Crop, draw: Callable[[], Crop], rng: np.random.Generator, hardness: float) -> Sample:
    """``base`` with one of the manipulations under one region: ``P (1 - M) + y(P) M``; a :data:`.sample.Forge`.

    ``draw`` and ``hardness`` are not used: every manipulation is as likely, and none is not one.
    """
    del draw, hardness
    mask, shape = region(len(base.frame), rng, labels=base.labels)
    leaf = (UNTOUCHED + int(rng.integers(1, len(LEAVES)))) % len(LEAVES)  # any but that one
    frame = np.where(mask[..., None], manipulated(base.frame, leaf, rng), base.frame)
    chosen = LEAVES[leaf]
    recipe = {"kind": "enhancement", "origin": base.origin, "shape": shape, "filter": chosen.operation}
    return Sample(frame, mask, {**recipe, "parameters": list(chosen.parameters)})
