"""Counts at every threshold, for one image or for many resamples of a set at once.

scikit-learn gives the areas under one curve; intervals and best thresholds want the counts of a thousand resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """What is found from each threshold on; leading axes are resamples or images."""

    thresholds: Values
    """Falling, [G]; the first is infinity, from which nothing is found."""
    hits: Values
    """True positives, [..., G]."""
    alarms: Values
    """False positives, [..., G]."""

    @classmethod
    def of(cls, scores: ArrayLike, labels: ArrayLike, weights: Values | None = None) -> Roc:
        """From scores [n] and labels [n]; ``weights`` [R, n] says how often each is drawn in each of R resamples."""
        scores, labels = np.asarray(scores, np.float64).ravel(), np.asarray(labels, np.bool_).ravel()
        order = np.argsort(-scores, kind="stable")
        ranked, truth = scores[order], labels[order]
        last = np.flatnonzero(np.append(ranked[:-1] != ranked[1:], True))  # a threshold takes all of one score or none
        drawn = np.ones(scores.size) if weights is None else weights[..., order]
        hits, alarms = (np.cumsum(drawn * kind, axis=-1)[..., last] for kind in (truth, ~truth))
        return cls(np.append(np.inf, ranked[last]), _led_by_zero(hits), _led_by_zero(alarms))

    @classmethod
    def of_histograms(cls, positives: Values, negatives: Values, levels: Values) -> Roc:
        """From counts [..., L] per bin; ``levels`` [L], rising, are the bins' lower ends."""
        hits, alarms = (np.cumsum(counts[..., ::-1], axis=-1, dtype=np.float64) for counts in (positives, negatives))
        return cls(np.append(np.inf, levels[::-1]), _led_by_zero(hits), _led_by_zero(alarms))

    @property
    def positives(self) -> Values:
        """Number of positives, [..., 1]."""
        return self.hits[..., -1:]

    @property
    def negatives(self) -> Values:
        """Number of negatives, [..., 1]."""
        return self.alarms[..., -1:]

    def index(self, threshold: float) -> int:
        """Place of the lowest threshold that is not below ``threshold``: what it finds is ``score >= threshold``."""
        return int(np.flatnonzero(self.thresholds >= threshold)[-1])

    def auc(self) -> Values:
        """Area under the curve by trapezia, [...]; NaN where one class is missing."""
        height = (self.hits[..., 1:] + self.hits[..., :-1]) / 2
        return _share((np.diff(self.alarms) * height).sum(-1), (self.positives * self.negatives)[..., 0], none=np.nan)

    def average_precision(self) -> Values:
        """Precision summed over the steps of recall, [...]; NaN without a positive."""
        steps = np.diff(self.hits) * _share(self.hits, self.hits + self.alarms)[..., 1:]
        return _share(steps.sum(-1), self.positives[..., 0], none=np.nan)

    def eer(self) -> tuple[Values, NDArray[np.intp]]:
        """Equal error rate [...], interpolated linearly between two points, and the place just after the crossing."""
        false = _share(self.alarms, self.negatives, none=np.nan)
        gap = false + _share(self.hits, self.positives, none=np.nan) - 1
        after = np.argmax(gap >= 0, axis=-1)
        before = np.maximum(after - 1, 0)
        low, high = (np.take_along_axis(gap, at[..., None], -1)[..., 0] for at in (before, after))
        left, right = (np.take_along_axis(false, at[..., None], -1)[..., 0] for at in (before, after))
        return np.asarray(left + _share(-low, high - low) * (right - left)), after

    def tpr_at(self, fpr: float) -> Values:
        """Largest true-positive rate whose false-positive rate does not exceed ``fpr``, [...]."""
        allowed = _share(self.alarms, self.negatives, none=np.nan) <= fpr
        rates = np.where(allowed, self.hits, 0).max(-1)
        return np.where(self.negatives[..., 0] > 0, _share(rates, self.positives[..., 0], none=np.nan), np.nan)

    def f1(self) -> Values:
        """2 TP / (2 TP + FP + FN), [..., G]; 0 where that is 0 / 0."""
        return _share(2 * self.hits, self.hits + self.alarms + self.positives)

    def iou(self) -> Values:
        """TP / (TP + FP + FN) of the manipulated class, [..., G]."""
        return _share(self.hits, self.alarms + self.positives)

    def ciou(self) -> Values:
        """Intersection over union averaged over the two classes, [..., G]."""
        kept = self.negatives - self.alarms
        return (self.iou() + _share(kept, self.negatives + self.positives - self.hits)) / 2

    def mcc(self) -> Values:
        """Matthews' correlation coefficient, [..., G]; 0 where it is 0 / 0."""
        hits, alarms = self.hits / self.positives.clip(1), self.alarms / self.negatives.clip(1)
        share = self.positives / (self.positives + self.negatives)
        found = share * hits + (1 - share) * alarms
        return _share((hits - alarms) * np.sqrt(share * (1 - share)), np.sqrt(np.clip(found * (1 - found), 0, 1)))

    def balanced_accuracy(self) -> Values:
        """Mean of the two classes' shares that are judged right, [..., G]."""
        right = 1 - _share(self.alarms, self.negatives, none=np.nan)
        return (_share(self.hits, self.positives, none=np.nan) + right) / 2


def _led_by_zero(counts: Values) -> Values:
    return np.concatenate([np.zeros_like(counts[..., :1]), counts], axis=-1)


def _share(part: Values, whole: Values, *, none: float = 0.0) -> Values:
    """``part / whole``, and ``none`` where ``whole`` is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(part.shape, none), where=whole != 0)
