"""Manipulated images from authentic ones, deterministic from (seed, index).

``synthesize`` is the door: it draws a kind, crops, lets the kind's one function forge, and sends every sample through
life.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from training.synthesis.copy_move import copy_move
from training.synthesis.enhancement import enhancement
from training.synthesis.life import history, life, working_side
from training.synthesis.removal import removal
from training.synthesis.sample import Crop, Forge, Sample, mixed, pick
from training.synthesis.splice import splice

KINDS: dict[str, Forge] = {"splice": splice, "copy_move": copy_move, "removal": removal, "enhancement": enhancement}
EASY = {"authentic": 0.05, "splice": 0.25, "copy_move": 0.0, "removal": 0.0, "enhancement": 0.7}
"""How often each kind is drawn at hardness 0: the strongest local traces, and hardly any frame without one.

From the mixture of full hardness a network learns nothing in its first thousands of samples but how likely a pixel is
to be manipulated; from these it learns local statistics in the first thousand.
"""
HARD = {"authentic": 0.25, "splice": 0.32, "copy_move": 0.15, "removal": 0.13, "enhancement": 0.15}
"""The same at hardness 1."""


class Photographs(Protocol):
    """Where crops come from."""

    def crop(self, rng: np.random.Generator, side: int) -> Crop:
        """A random window of a random photograph, ``side`` x ``side`` px."""


def synthesize(photographs: Photographs, *, seed: int, index: int, size: int, hardness: float = 1.0) -> Sample:
    """Sample ``index`` of the endless sequence ``seed``, ``size`` x ``size`` px.

    ``hardness`` in [0, 1] is for a curriculum: 0 gives strong manipulations and a mild life, 1 what is to be expected.
    """
    rng = np.random.default_rng((seed, index))
    side = working_side(size, rng, hardness)
    kind = pick(rng, mixed(EASY, HARD, hardness))

    def draw() -> Crop:
        return history(photographs.crop(rng, side), rng)

    base = draw()
    authentic = Sample(base.frame, np.zeros((side, side), np.bool_), {"kind": "authentic", "origin": base.origin})
    made = authentic if kind == "authentic" else KINDS[kind](base, draw, rng, hardness)
    return life(made, rng, size=size, hardness=hardness)
