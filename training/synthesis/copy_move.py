"""Copy-move: a region of the frame copied to other places of it. The mask marks the copies only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from training.synthesis import filters
from training.synthesis.blend import paste
from training.synthesis.sample import Crop, Mask, Sample, between
from training.synthesis.shapes import AREA, ellipse, legal, region
from training.synthesis.warp import placement, shift, warped

OVERLAP = 0.5
"""Share of a copy that may fall on its source."""
TRIES = 12


def copy_move(base: Crop, draw: Callable[[], Crop], rng: np.random.Generator, hardness: float) -> Sample:
    """``base`` with one to four copies of one of its regions, each mirrored, scaled and turned at random.

    ``draw`` is not used. Below full ``hardness`` some copies are also relit, which is easier to see.
    """
    del draw
    outline, shape = region(len(base.frame), rng, labels=base.labels)
    frame, mask = base.frame.copy(), np.zeros_like(outline)
    edges: list[str] = []
    wanted = 1 if rng.random() < 0.75 else int(rng.integers(2, 5))
    for source, move in _attempts(outline, rng):
        piece = warped(source, base.frame, move)
        if piece is None:
            continue
        copy = np.zeros_like(mask)
        copy[piece.where] = piece.mask
        overlap = (copy & source).sum() / max(int(copy.sum()), 1)
        if copy.mean() < AREA[0] or overlap > OVERLAP or not legal(mask | copy):
            continue
        patch = piece.pixels
        if rng.random() < 0.5 * (1 - hardness):
            patch = filters.tone(patch, gain=between(rng, 0.8, 1.2), bias=0.0, gamma=between(rng, 0.8, 1.25))
        frame[piece.where], edge = paste(frame[piece.where], patch, piece.mask, rng)
        edges.append(edge)
        mask |= copy
        if len(edges) == wanted:
            break
    return Sample(frame, mask, {"kind": "copy_move", "origin": base.origin, "shape": shape, "edges": edges})


def _attempts(outline: Mask, rng: np.random.Generator) -> Iterator[tuple[Mask, NDArray[np.float64]]]:
    """Random placements of the region; last an ellipse moved by half a frame, which has room in any."""
    for _ in range(TRIES):
        yield outline, placement(outline, rng)
    last, half = ellipse(len(outline), rng), len(outline) // 2
    leans_left = last[:, :half].sum() > last.sum() / 2
    yield last, shift(np.array([half if leans_left else -half, 0.0]))
