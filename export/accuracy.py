"""May a lower precision be used? What it changes on samples whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import sdk
from sdk.errors import PrecisionUnavailable
from training import metrics
from training.synthesis.sample import Sample

LARGEST_FALL = 0.002
"""Of pixel and image AUC."""
LARGEST_CHANGE = 0.005
"""Share of the verdicts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """What an artifact reaches on samples, at one precision."""

    pixel_auc: float
    """Mean over the manipulated samples of the area under the heatmap's own curve."""
    image_auc: float
    verdicts: tuple[str, ...]
    """One per sample, in order."""


def measure(folder: Path, samples: Sequence[Sample], *, precision: str, working_size: int | None = None) -> Accuracy:
    """Run the artifact in ``folder`` on ``samples`` in ``precision`` with the backend that the SDK prefers."""
    with sdk.load(folder, precision=precision, device="cpu", working_size=working_size) as analyzer:
        analyses = [analyzer.analyze(sample.frame) for sample in samples]
    heatmaps = [_heatmap(analysis) for analysis in analyses]
    pairs = [(heatmap, sample.mask) for heatmap, sample in zip(heatmaps, samples, strict=True) if sample.mask.any()]
    labels = np.array([bool(sample.mask.any()) for sample in samples])
    scores = np.array([analysis.score for analysis in analyses])
    return Accuracy(
        pixel_auc=float(np.mean([metrics.auc(heatmap, mask) for heatmap, mask in pairs])),
        image_auc=metrics.auc(scores, labels),
        verdicts=tuple(analysis.verdict.name for analysis in analyses),
    )


def _heatmap(analysis: sdk.Analysis) -> NDArray[np.float32]:
    assert analysis.heatmap is not None  # min_score is 0
    return analysis.heatmap


def changes(exact: Accuracy, lower: Accuracy) -> dict[str, float]:
    """How much ``lower`` loses against ``exact``: falls of the AUCs, share of verdicts that differ."""
    differ = [a != b for a, b in zip(exact.verdicts, lower.verdicts, strict=True)]
    return {
        "pixel_auc_fall": exact.pixel_auc - lower.pixel_auc,
        "image_auc_fall": exact.image_auc - lower.image_auc,
        "verdicts_changed": float(np.mean(differ)),
    }


def bf16_changes(
    folder: Path, samples: Sequence[Sample], *, working_sizes: Sequence[int]
) -> dict[int, dict[str, float]]:
    """What bf16 changes on ``samples`` at each working size.

    Empty, nothing known, without samples, without measured sizes, or on a machine without bf16.
    """
    found = {}
    for size in working_sizes if samples else ():
        try:
            lower = measure(folder, samples, precision="bf16", working_size=size)
        except PrecisionUnavailable:
            return {}
        found[size] = changes(measure(folder, samples, precision="f32", working_size=size), lower)
    return found


def is_allowed(change: dict[str, float]) -> bool:
    """Whether a precision with these changes may be used."""
    falls = (change["pixel_auc_fall"], change["image_auc_fall"])
    return all(fall <= LARGEST_FALL for fall in falls) and change["verdicts_changed"] <= LARGEST_CHANGE
