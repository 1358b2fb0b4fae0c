"""Measure trained weights on photographs that training did not see, and write their card.

Thresholds come from authentic photographs, one frame per photograph, whole or as cropped when delivered; accuracy and
calibration from samples made of the same photographs. Everything is chosen here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression

from training import metrics
from training.card import Card
from training.data import Photographs, Samples
from training.nn.detector import Detector
from training.synthesis.sample import Sample

SEED = 20_012
"""Seed of the samples that are measured on; neither training's nor that of validation during training."""
RATES = (0.01, 0.05)

Frame = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured."""

    photographs: Path
    working_sizes: tuple[int, ...] = (512, 0)
    """Long sides, px; 0 is the frame's own size."""
    samples: int = 160
    size: int = 768
    """Side of the samples, px."""


@torch.inference_mode()
def answer(detector: Detector, frame: Frame, *, working_size: int) -> tuple[NDArray[np.float32], float]:
    """Heatmap [H, W] and margin of the class logits, uncalibrated; in float32, as it is deployed."""
    logits = detector.logits(torch.from_numpy(np.ascontiguousarray(frame))[None], working_size)
    heatmap = detector.heatmap(logits.masks[0][:, None], *frame.shape[:2])
    return heatmap[0].float().numpy(), float(logits.score[0, 1] - logits.score[0, 0])


def authentic(photographs: Photographs) -> Iterable[Frame]:
    """One frame per photograph; where only crops of it were delivered, the first of them."""
    seen: set[str] = set()
    for index, row in enumerate(photographs.rows):
        if row.source_path not in seen:
            seen.add(row.source_path)
            yield photographs.pixels(index)[0]


def measure(detector: Detector, plan: Plan) -> dict[int, dict[str, object]]:
    """Figures by working size: accuracy on samples, margins of authentic photographs."""
    photographs = Photographs(plan.photographs, "validation")
    samples = Samples(photographs, seed=SEED, size=plan.size)
    made = [samples.sample(index) for index in range(plan.samples)]
    detector = detector.eval().to(memory_format=torch.channels_last)
    return {size: _at(detector, made, authentic(photographs), working_size=size) for size in plan.working_sizes}


def _at(
    detector: Detector, made: Sequence[Sample], photographs: Iterable[Frame], *, working_size: int
) -> dict[str, object]:
    answers = [answer(detector, sample.frame, working_size=working_size) for sample in made]
    pairs = [(heatmap, sample) for (heatmap, _), sample in zip(answers, made, strict=True) if sample.label]
    aucs = np.array([metrics.auc(heatmap, sample.mask) for heatmap, sample in pairs])
    kinds = np.array([str(sample.recipe["kind"]) for _, sample in pairs])
    margins = np.array([margin for _, margin in answers])
    labels = np.array([bool(sample.label) for sample in made])
    return {
        "pixel_auc": float(aucs.mean()),
        "pixel_auc_interval": bootstrap(aucs),
        "pixel_auc_by_kind": {kind: float(aucs[kinds == kind].mean()) for kind in sorted(set(kinds))},
        "image_auc": metrics.auc(margins, labels),
        "samples": len(made),
        "mask_threshold": _mask_threshold(pairs),
        "margins": margins,
        "labels": labels,
        "authentic_margins": np.array([answer(detector, frame, working_size=working_size)[1] for frame in photographs]),
    }


def _mask_threshold(pairs: Sequence[tuple[NDArray[np.float32], Sample]]) -> float:
    """The one threshold with the best F1 averaged over the samples, of a grid."""
    levels = np.linspace(0.1, 0.95, 18)
    means = [np.mean([metrics.f1(h, sample.mask, threshold=level) for h, sample in pairs]) for level in levels]
    return float(levels[int(np.argmax(means))])


def bootstrap(values: NDArray[np.float64], *, rounds: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean, images resampled."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (rounds, values.size)).mean(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def calibrate(margins: NDArray[np.float64], labels: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of a logistic fit in which both classes weigh the same; the slope is kept positive."""
    fit = LogisticRegression(class_weight="balanced").fit(margins[:, None], labels)
    slope, offset = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    return (slope, offset) if slope > 0 else (1.0, -float(np.median(margins)))


def threshold(scores: NDArray[np.float64], rate: float) -> tuple[float, dict[str, float]]:
    """The lowest score that at most ``rate`` of the authentic photographs reach, and the bounds on that rate.

    ``bounds`` are Clopper and Pearson's 95 % interval of the true rate, with photographs counted, not crops.
    """
    count = scores.size
    flagged = int(rate * count)
    ordered = np.sort(scores)[::-1]
    level = float(np.nextafter(np.float32(ordered[flagged]), np.float32(1.0)))
    low = float(beta.ppf(0.025, flagged, count - flagged + 1)) if flagged else 0.0
    high = float(beta.ppf(0.975, flagged + 1, count - flagged))
    return min(level, 1.0), {"photographs": count, "flagged": flagged, "rate_low": low, "rate_high": high}


def card(detector: Detector, plan: Plan, **known: object) -> Card:
    """The card of ``detector``.

    The default working size has the best sum of pixel and image AUC. A verdict may be asked at any measured size, so a
    threshold is the highest that any of them needs.
    """
    found = measure(detector, plan)
    default = max(found, key=lambda size: found[size]["pixel_auc"] + found[size]["image_auc"])
    slope, offset = calibrate(found[default]["margins"], found[default]["labels"])
    levels, bounds = dict.fromkeys(map(str, RATES), 0.0), {}
    for size, table in found.items():
        scores = 1 / (1 + np.exp(-(slope * table["authentic_margins"] + offset)))
        for rate in RATES:
            level, bounds[f"{rate} at {size or 'native'}"] = threshold(scores, rate)
            levels[str(rate)] = max(levels[str(rate)], level)
    private = {"margins", "labels", "authentic_margins"}
    figures = {str(size): {k: v for k, v in table.items() if k not in private} for size, table in found.items()}
    protocol = {"protocol": "synthetic validation", "seed": SEED, "size": plan.size, "by_working_size": figures}
    return Card(
        working_size=default,
        working_sizes=plan.working_sizes,
        calibration=(slope, offset),
        score_thresholds=levels,
        mask_threshold=found[default]["mask_threshold"],
        figures={"synthetic": protocol, "false_positives": bounds},
        **known,
    )
