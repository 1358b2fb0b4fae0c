"""Copy-move: a region of the frame copied to other places of it. The mask marks the copies only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.synthesis import filters
from training.synthesis.blend import paste
from training.synthesis.sample import Crop, Sample, between
from training.synthesis.shapes import AREA, legal, region
from training.synthesis.splice import placement, warped

OVERLAP = 0.5
"""Share of a copy that may fall on its source."""


def copy_move(base: Crop, draw: Callable[[], Crop], rng: np.random.Generator, hardness: float) -> Sample:
    """``base`` with one to three copies of one of its regions, each mirrored, scaled and turned at random.

    ``draw`` is not used. Below full ``hardness`` some copies are also relit, which is easier to see.
    """
    del draw
    outline, shape = region(len(base.frame), rng, labels=base.labels)
    frame, mask = base.frame, np.zeros_like(outline)
    edges: list[str] = []
    wanted = 1 if rng.random() < 0.8 else int(rng.integers(2, 4))
    for _ in range(12):
        copy, patch = warped(outline, base.frame, placement(outline, rng))
        overlap = (copy & outline).sum() / max(int(copy.sum()), 1)
        if copy.mean() < AREA[0] or overlap > OVERLAP or not legal(mask | copy):
            continue
        if rng.random() < 0.5 * (1 - hardness):
            patch = filters.tone(patch, gain=between(rng, 0.8, 1.2), bias=0.0, gamma=between(rng, 0.8, 1.25))
        frame, edge = paste(frame, patch, copy, rng)
        edges.append(edge)
        mask = mask | copy
        if len(edges) == wanted:
            break
    return Sample(frame, mask, {"kind": "copy_move", "origin": base.origin, "shape": shape, "edges": edges})
