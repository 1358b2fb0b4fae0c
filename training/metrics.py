"""Scores of masks and images against the truth: NumPy and scikit-learn, no torch.

Pixel metrics take one image's heatmap and mask; image metrics take the scores and labels of a set.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

Scores = NDArray[np.floating]
Labels = NDArray[np.bool_]


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve in [0, 1]; NaN where only one class is present."""
    scores, labels = _flat(scores, labels)
    return float(roc_auc_score(labels, scores)) if 0 < labels.sum() < labels.size else float("nan")


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Average precision in [0, 1]; NaN without a positive."""
    scores, labels = _flat(scores, labels)
    return float(average_precision_score(labels, scores)) if labels.any() else float("nan")


def f1(scores: ArrayLike, labels: ArrayLike, *, threshold: float = 0.5) -> float:
    """F1 of ``scores >= threshold``; 0 where nothing is found and NaN where there is nothing to find."""
    scores, labels = _flat(scores, labels)
    found = scores >= threshold
    total = int(found.sum()) + int(labels.sum())
    return 2 * int((found & labels).sum()) / total if labels.any() else float("nan")


def best_f1(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """The largest F1 over all thresholds, with the threshold that reaches it."""
    scores, labels = _flat(scores, labels)
    if not labels.any():
        return float("nan"), float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(labels[order])
    values = 2 * hits / (np.arange(1, scores.size + 1) + labels.sum())
    values[:-1][ranked[:-1] == ranked[1:]] = -1  # a threshold takes all pixels of one score or none
    best = int(np.argmax(values))
    return float(values[best]), float(ranked[best])


def eer(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Equal error rate, where the false-positive rate crosses the miss rate, and the threshold there.

    Between two points of the ROC curve the crossing is interpolated linearly.
    """
    scores, labels = _flat(scores, labels)
    if not 0 < labels.sum() < labels.size:
        return float("nan"), float("nan")
    false, true, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    gap = false - (1 - true)
    after = int(np.argmax(gap >= 0))
    before = max(after - 1, 0)
    share = 0.0 if gap[after] == gap[before] else -gap[before] / (gap[after] - gap[before])
    rate = false[before] + share * (false[after] - false[before])
    return float(rate), float(thresholds[after])


def tpr_at_fpr(scores: ArrayLike, labels: ArrayLike, *, fpr: float) -> tuple[float, float]:
    """The largest true-positive rate whose false-positive rate does not exceed ``fpr``, and its threshold.

    An image counts as found from the threshold on (``score >= threshold``).
    """
    scores, labels = _flat(scores, labels)
    if not 0 < labels.sum() < labels.size:
        return float("nan"), float("nan")
    false, true, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    allowed = int(np.flatnonzero(false <= fpr)[-1])
    return float(true[allowed]), float(thresholds[allowed])


def pixel_table(heatmaps: Sequence[Scores], masks: Sequence[Labels]) -> dict[str, float]:
    """Means over the images that hold a manipulation; authentic images do not enter."""
    pairs = [(heatmap, mask) for heatmap, mask in zip(heatmaps, masks, strict=True) if mask.any() and not mask.all()]
    if not pairs:
        return {}
    return {
        "pixel_auc": float(np.mean([auc(*pair) for pair in pairs])),
        "pixel_ap": float(np.mean([average_precision(*pair) for pair in pairs])),
        "pixel_f1_fixed": float(np.mean([f1(*pair) for pair in pairs])),
        "pixel_f1_best_per_image": float(np.mean([best_f1(*pair)[0] for pair in pairs])),
    }


def image_table(scores: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Detection over a set of authentic and manipulated images."""
    return {
        "image_auc": auc(scores, labels),
        "image_ap": average_precision(scores, labels),
        "image_eer": eer(scores, labels)[0],
        "image_tpr_at_1": tpr_at_fpr(scores, labels, fpr=0.01)[0],
        "image_tpr_at_5": tpr_at_fpr(scores, labels, fpr=0.05)[0],
    }


def _flat(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    flat, truth = np.asarray(scores, np.float64).ravel(), np.asarray(labels, np.bool_).ravel()
    if flat.shape != truth.shape:
        raise ValueError(f"{flat.size} scores for {truth.size} labels\n  -> give one score per label")
    return flat, truth
