"""Classical detectors and controls that a model has to beat; one file each, no weights, nothing trained.

The registry is this folder: each module has ``heatmap(frame)`` and the citation of what it follows. Their heatmaps
order pixels; as probabilities they mean nothing, so their figures at fixed thresholds say little.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
from numpy.typing import NDArray

from training.errors import UnknownName
from training.evaluation.predictors import Answer
from training.synthesis.sample import Frame


@dataclass(frozen=True, slots=True)
class Baseline:
    """A module of this folder as a predictor."""

    name: str

    @property
    def identity(self) -> dict[str, object]:
        """Nothing but its kind: there are no weights."""
        return {"kind": "baseline"}

    @property
    def mask_threshold(self) -> float:
        """The middle; nothing was fitted."""
        return 0.5

    @property
    def score_thresholds(self) -> dict[str, float]:
        """None."""
        return {}

    @property
    def video_thresholds(self) -> dict[str, float]:
        """None."""
        return {}

    def predict(self, frame: Frame, *, working_size: int | None = None) -> Answer:
        """Always at the frame's own size: resampling destroys what classical detectors look for."""
        del working_size
        found: NDArray[np.float32] = import_module(f"{__name__}.{self.name}").heatmap(frame)
        return Answer(found)


def names() -> list[str]:
    """Every baseline."""
    return sorted(module.name for module in iter_modules(__path__))


def get(name: str) -> Baseline:
    """The baseline of that name."""
    if name not in names():
        raise UnknownName("baseline", name, names())
    return Baseline(name)
