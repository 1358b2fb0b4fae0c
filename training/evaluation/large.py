"""Forgeries the size that users send: whole photographs of at least 1,280 px, one square of each forged."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from training.data import Photographs
from training.evaluation.items import SEED, Item, Truth, extent
from training.synthesis import KINDS
from training.synthesis.compression import random_jpeg
from training.synthesis.sample import Crop, Frame

LEAST = 1280
"""Long side of the photographs, px."""
MOST = 2048
"""Larger photographs are shrunk to this long side, so that no single one takes minutes."""
AUTHENTIC_EVERY = 5
"""One in so many stays authentic."""


class LargeForgeries:
    """Deterministic from the index: photograph, kind and square."""

    def __init__(self, photographs: Path, *, seed: int = SEED) -> None:
        """Held-out photographs only."""
        self.photographs, self.seed = Photographs(photographs, "validation"), seed
        files = (photographs.parent / row.file for row in self.photographs.rows)
        self.usable = [at for at, file in enumerate(files) if max(extent(file)) >= LEAST]
        if not self.usable:
            raise ValueError(f"no held-out photograph reaches {LEAST} px\n  -> leave --large out, or add photographs")

    def items(self, count: int) -> list[Item]:
        """The first ``count`` of them."""
        return [Item(f"large {at}", partial(self.make, at), group="large synthetic") for at in range(count)]

    def make(self, index: int) -> tuple[Frame, Truth]:
        """Photograph and truth at one size, coded once as JPEG, authentic ones too."""
        rng = np.random.default_rng((self.seed, index))
        frame = self._shown(self.usable[index % len(self.usable)])
        mask = np.zeros(frame.shape[:2], np.bool_)
        if index % AUTHENTIC_EVERY:
            frame, mask = self._forged(frame, mask, index, rng)
        return random_jpeg(frame, rng, lowest=75)[0], mask

    def _forged(self, frame: Frame, mask: Truth, index: int, rng: np.random.Generator) -> tuple[Frame, Truth]:
        side = min(frame.shape[:2])
        top, left = (int(rng.integers(0, extent - side + 1)) for extent in frame.shape[:2])
        square = np.s_[top : top + side, left : left + side]

        def draw() -> Crop:
            return self.photographs.crop(rng, side)

        kind = list(KINDS)[index % len(KINDS)]
        made = KINDS[kind](Crop(np.ascontiguousarray(frame[square])), draw, rng, 1.0)
        frame, mask = frame.copy(), mask.copy()
        frame[square], mask[square] = made.frame, made.mask
        return frame, mask

    def _shown(self, at: int) -> Frame:
        frame = self.photographs.pixels(at)[0]
        scale = MOST / max(frame.shape[:2])
        return frame if scale >= 1 else cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
