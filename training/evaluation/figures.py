"""Figures of a set with their 95 % intervals, and whether one predictor is better than another.

Images are resampled, never pixels: pixels of one image are not independent. All figures of a set, and all predictors,
share their resamples, so that differences can be tested pair by pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.protocols import MEASURES, Protocol
from training.evaluation.roc import Roc, Values
from training.evaluation.tally import LEVELS, Record

INTERVAL = (0.025, 0.975)


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """One figure of one set."""

    value: float
    low: float
    high: float
    images: int
    """How many images it stands on."""
    resampled: NDArray[np.float64]
    """Its value in every resample, NaN where a resample lacked one class."""

    def to_dict(self) -> dict[str, object]:
        """Value, interval and number of images, in JSON types; None for what is not defined."""
        value, low, high = (None if np.isnan(x) else round(x, 6) for x in (self.value, self.low, self.high))
        return {"value": value, "low": low, "high": high, "images": self.images}


def figures(records: Sequence[Record], protocol: Protocol) -> dict[str, Figure]:
    """Every figure that the protocol asks for and the set can give: ``pixel_...`` and ``image_...``."""
    judged = [record for record in records if record.positives is not None]
    found: dict[str, Figure] = {}
    if judged:
        values = pixel(judged, protocol)
        found |= {f"pixel_{name}": _figure(values[name], len(judged)) for name in protocol.pixel}
    labels = np.array([record.label for record in records], np.bool_)
    if labels.any() and not labels.all():
        values = image(records, protocol)
        for name in protocol.image:
            if name in values:
                found[f"image_{name}"] = _figure(values[name], _standing(name, labels))
    return found


def _standing(name: str, labels: NDArray[np.bool_]) -> int:
    """How many images an image figure stands on: a share that is flagged, on those of one label."""
    if name.startswith("flagged_"):
        return int((labels == name.startswith("flagged_manipulated")).sum())
    return labels.size


def resamples(count: int, protocol: Protocol) -> Values:
    """How often each of ``count`` images is drawn, [1 + rounds, count]; the first row is the set itself."""
    drawn = np.random.default_rng(protocol.seed).multinomial(count, np.full(count, 1 / count), protocol.rounds)
    return np.vstack([np.ones((1, count)), drawn])


def _figure(values: Values, images: int) -> Figure:
    inside = values[1:][~np.isnan(values[1:])]
    low, high = np.quantile(inside, INTERVAL) if inside.size else (np.nan, np.nan)
    return Figure(float(values[0]), float(low), float(high), images, values[1:])


def pixel(records: Sequence[Record], protocol: Protocol) -> dict[str, Values]:
    """Pixel figures over resamples, [1 + rounds] each."""
    weights = resamples(len(records), protocol)
    found = {name: _mean(weights, [record.values[name] for record in records]) for name in records[0].values}
    return found if set(protocol.pixel) <= set(found) else found | _of_sets(records, weights, protocol)


def _of_sets(records: Sequence[Record], weights: Values, protocol: Protocol) -> dict[str, Values]:
    """What needs the pixels of a whole set: pooled areas, and means at thresholds that the set decides."""
    positives, negatives = (
        np.array([getattr(record, kind) for record in records], np.float64) for kind in ("positives", "negatives")
    )
    pooled = Roc.of_histograms(weights @ positives, weights @ negatives, LEVELS)
    found = {"auc_pooled": pooled.auc(), "ap_pooled": pooled.average_precision()}
    each, crossing = Roc.of_histograms(positives, negatives, LEVELS), pooled.eer()[1]
    for measure in MEASURES:
        if {f"{measure}_best_set", f"{measure}_eer_set"} & set(protocol.pixel):
            means = weights @ getattr(each, measure)() / weights.sum(1, keepdims=True)  # [1 + rounds, thresholds]
            found[f"{measure}_best_set"] = means.max(1)
            found[f"{measure}_eer_set"] = np.take_along_axis(means, crossing[:, None], 1)[:, 0]
    return found


def image(records: Sequence[Record], protocol: Protocol) -> dict[str, Values]:
    """Image figures over resamples, [1 + rounds] each."""
    labels = np.array([record.label for record in records], np.bool_)
    weights = resamples(len(records), protocol)
    roc = Roc.of([record.score for record in records], labels, weights)
    rate, crossing = roc.eer()
    f1, balanced, fixed = roc.f1(), roc.balanced_accuracy(), roc.index(protocol.fixed)
    found = {
        "auc": roc.auc(),
        "ap": roc.average_precision(),
        "eer": rate,
        "tpr_at_1": roc.tpr_at(0.01),
        "tpr_at_5": roc.tpr_at(0.05),
        "f1_fixed": f1[:, fixed],
        "f1_best": f1.max(1),
        "f1_eer": np.take_along_axis(f1, crossing[:, None], 1)[:, 0],
        "balanced_accuracy_fixed": balanced[:, fixed],
        "balanced_accuracy_best": balanced.max(1),
    }
    for rate in records[0].flags:
        flags = np.array([record.flags[rate] for record in records], np.float64)
        found[f"flagged_manipulated_at_{rate}"] = _mean(weights, np.where(labels, flags, np.nan))
        found[f"flagged_authentic_at_{rate}"] = _mean(weights, np.where(labels, np.nan, flags))
    return found


def _mean(weights: Values, values: Sequence[float] | Values) -> Values:
    """Weighted means over those that are defined, [R]; NaN where none is."""
    values = np.asarray(values, np.float64)
    defined = ~np.isnan(values)
    total = weights @ defined.astype(np.float64)
    return np.divide(weights @ np.where(defined, values, 0), total, out=np.full(total.shape, np.nan), where=total > 0)


def better(one: Figure, other: Figure) -> dict[str, float]:
    """``one`` minus ``other`` on the same resamples of the same images: difference, interval, two-sided p value.

    ``p`` is twice the share of resamples on the other side of zero, with one added to both counts, so that no number of
    resamples claims certainty.
    """
    gap = one.resampled - other.resampled
    gap = gap[~np.isnan(gap)]
    if not gap.size:  # a figure that no resample defines
        return {"difference": one.value - other.value} | dict.fromkeys(("low", "high", "p"), float("nan"))
    low, high = np.quantile(gap, INTERVAL)
    tail = min(int((gap <= 0).sum()), int((gap >= 0).sum()))
    p = min(2 * (tail + 1) / (gap.size + 1), 1.0)
    return {"difference": one.value - other.value, "low": float(low), "high": float(high), "p": p}


def tables(records: Mapping[str, Sequence[Record]], protocol: Protocol) -> dict[str, dict[str, dict[str, Figure]]]:
    """Figures by set and predictor: sets are never pooled."""
    groups = sorted({record.group for mine in records.values() for record in mine})
    return {
        group: {
            name: figures([record for record in mine if record.group == group], protocol)
            for name, mine in records.items()
        }
        for group in groups
    }
