"""Manipulated images from authentic ones, deterministic from (seed, index).

``synthesize`` is the door: it draws a kind, crops, lets the kind's one function forge, and sends every sample through
life.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Protocol

import numpy as np

from training.synthesis.copy_move import copy_move
from training.synthesis.enhancement import enhancement
from training.synthesis.journey import drawn
from training.synthesis.life import history, life, sampled
from training.synthesis.removal import removal
from training.synthesis.retouch import retouch
from training.synthesis.sample import Crop, Forge, Sample, mixed, pick
from training.synthesis.splice import splice

KINDS: dict[str, Forge] = {
    "splice": splice, "copy_move": copy_move, "removal": removal, "enhancement": enhancement, "retouch": retouch,
}  # fmt: skip
EASY = {"authentic": 0.05, "splice": 0.25, "copy_move": 0.0, "removal": 0.0, "enhancement": 0.7}
"""How often each kind is drawn at hardness 0: the strongest local traces, and hardly any frame without one.

From the mixture of full hardness a network learns nothing in its first thousands of samples but how likely a pixel is
to be manipulated; from these it learns local statistics in the first thousand.
"""
HARD = {"authentic": 0.25, "splice": 0.3, "copy_move": 0.14, "removal": 0.13, "enhancement": 0.11, "retouch": 0.07}
"""The same at hardness 1."""


FAINTEST = 1.0
"""Mean change of a manipulated pixel under which another region is tried, grey levels."""
TRIES = 3


Finish = Callable[[Sample, np.random.Generator], Sample]
"""The last thing that is done to a forgery before it goes its way: (sample, generator) -> sample with the same mask."""


class Photographs(Protocol):
    """Where crops come from."""

    def crop(self, rng: np.random.Generator, side: int) -> Crop:
        """A random window of a random photograph, ``side`` x ``side`` px."""


def synthesize(
    photographs: Photographs, *, seed: int, index: int, size: int, hardness: float = 1.0, video: bool = True,
    kinds: Collection[str] | None = None, finish: Finish | None = None,
) -> Sample:  # fmt: skip
    """Sample ``index`` of the endless sequence ``seed``, ``size`` x ``size`` px.

    ``hardness`` in [0, 1] is for a curriculum: 0 gives strong manipulations and a mild life, 1 what is to be expected.
    ``video=False`` leaves out the passes through a video codec, for machines without PyAV. ``kinds`` are those that are
    drawn from, as often beside each other as ever; "authentic" is one. ``finish`` is what a forger does last.
    """
    rng = np.random.default_rng((seed, index))
    journey = drawn(size, rng, hardness, video=video)
    weights = mixed(EASY, HARD, hardness)
    kind = pick(rng, {kind: weights[kind] for kind in weights if kinds is None or kind in kinds})

    def draw() -> Crop:
        return history(photographs.crop(rng, journey.made), rng, hardness)

    base = draw()
    untouched = np.zeros(base.frame.shape[:2], np.bool_)
    authentic = Sample(base.frame, untouched, {"kind": "authentic", "origin": base.origin})
    made = authentic if kind == "authentic" else forged(KINDS[kind], base, draw, rng=rng, hardness=hardness)
    if finish is not None and made.label:
        made = finish(made, rng)
    finished = life(made, journey, rng, hardness=hardness)
    return finished if base.labels is None else replace(finished, labels=sampled(base.labels, size))


def forged(forge: Forge, base: Crop, draw: Callable[[], Crop], *, rng: np.random.Generator, hardness: float) -> Sample:
    """A forgery that can be told from its base; where one sky was filled with another, the next region is tried."""
    for _ in range(TRIES):
        made = forge(base, draw, rng, hardness)
        if np.abs(made.frame[made.mask].astype(np.int16) - base.frame[made.mask]).mean() >= FAINTEST:
            break
    return made
