"""What synthesis passes around: crops of photographs in, samples out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
"""RGB, [H, W, 3]."""
Mask = NDArray[np.bool_]
"""True where manipulated, [H, W]."""
Recipe = dict[str, object]
"""How a sample was made, in JSON types."""


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A square window of one authentic photograph."""

    frame: Frame
    """RGB, [s, s, 3]."""
    labels: NDArray[np.uint8] | None = None
    """Object label map, [s, s], 0 = background; None where the photograph has none."""
    origin: str = ""
    """The photograph's file, relative to its folder."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One training example."""

    frame: Frame
    """RGB, [s, s, 3]."""
    mask: Mask
    """True where manipulated, [s, s]."""
    recipe: Recipe = field(default_factory=dict)
    """Kind, origin and every drawn choice that matters, in JSON types."""
    labels: NDArray[np.uint8] | None = None
    """Object label map of the photograph that was begun with, [s, s], whatever was done over it; None if it has none.
    """

    @property
    def label(self) -> int:
        """1 if any pixel was manipulated, else 0."""
        return int(self.mask.any())


Forge = Callable[[Crop, Callable[[], Crop], np.random.Generator, float], Sample]
"""A kind of manipulation: (base, draw a donor crop, generator, hardness in [0, 1]) -> sample of the base's size."""


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A uniform draw as a Python float, so that recipes stay JSON."""
    return float(rng.uniform(low, high))


def mixed(easy: dict[str, float], hard: dict[str, float], hardness: float) -> dict[str, float]:
    """Weights between those of hardness 0 and 1; ``hard`` names every choice."""
    return {name: (1 - hardness) * easy.get(name, 0.0) + hardness * weight for name, weight in hard.items()}


def pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    """One key, drawn in proportion to its weight."""
    names = list(weights)
    total = np.cumsum([weights[name] for name in names])
    return names[min(int(np.searchsorted(total, rng.random() * total[-1], side="right")), len(names) - 1)]
